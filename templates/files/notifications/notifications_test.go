package main

import (
	"testing"

	"bennu.dev/bennu"
	"bennu.dev/bennu/bennutest"
)

func TestANoteWaitsUntilItIsRead(t *testing.T) {
	stage := bennutest.New(t)
	answer := stage.Send("inbox:ada", "notify", bennu.M{"text": "hi"})
	if answer == nil || answer.Status != "ok" {
		t.Fatal(answer)
	}
	id := answer.Payload.(bennu.M)["id"]

	ada := stage.Join("inbox:ada", nil)
	if unread := ada.Response.(bennu.M)["unread"].([]any); len(unread) != 1 || unread[0].(bennu.M)["text"] != "hi" {
		t.Fatal(unread)
	}
	ada.Push("read", bennu.M{"id": id})
	ada.AssertBroadcast("read", bennu.M{"id": id})
	if again := stage.Join("inbox:ada", nil); len(again.Response.(bennu.M)["unread"].([]any)) != 0 {
		t.Fatal(again.Response)
	}
}

func TestAUserTellsAnotherOneSomething(t *testing.T) {
	stage := bennutest.New(t)
	ada := stage.Join("inbox:ada", nil)
	bo := stage.Join("inbox:bo", nil)
	ada.Push("tell", bennu.M{"user": "bo", "text": "tea?"})
	bo.AssertBroadcast("notified", bennu.M{"text": "tea?"})
	ada.Refute("notified")
}
