package main

import (
	"testing"

	"bennu.dev/bennu"
	"bennu.dev/bennu/bennutest"
)

func TestAMessageReachesEverybodyInTheRoom(t *testing.T) {
	stage := bennutest.New(t)
	ada := stage.Join("room:lobby", bennu.M{"user": "Ada"})
	bo := stage.Join("room:lobby", bennu.M{"user": "Bo"})
	ada.AssertBroadcast("joined", bennu.M{"user": "Bo"})

	ada.Push("new_msg", bennu.M{"body": "hi"})
	ada.AssertReply("ok", bennu.M{})
	bo.AssertBroadcast("new_msg", bennu.M{"user": "Ada", "body": "hi"})

	ada.Close()
	bo.AssertBroadcast("left", bennu.M{"user": "Ada"})
}

func TestAClientWithoutANameCannotJoin(t *testing.T) {
	_, err := bennutest.New(t).TryJoin("room:lobby", nil)
	if err == nil || err.Error() != `the join ended with an error reply: {"reason":"user: missing, expected a string"}` {
		t.Fatal(err)
	}
}
