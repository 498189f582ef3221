package main

import (
	"testing"
	"time"

	"bennu.dev/bennu"
	"bennu.dev/bennu/bennutest"
)

func TestAChannel(t *testing.T) {
	stage := bennutest.New(t)
	ada := stage.Join("room:1", bennu.M{"user": "Ada"})
	ada.Push("new_msg", bennu.M{"body": "hi"})
	ada.AssertReply("ok", bennu.M{"sent": 1, "messages": 1})
	ada.Push("remind", bennu.M{"ms": 1000})
	stage.Advance(time.Second)
	ada.AssertPush("reminder", bennu.M{"payload": bennu.M{"sent": 1}})
	ada.Push("remind", bennu.M{"ms": "soon"})
	ada.AssertReply("error", bennu.M{"reason": "ms: expected a whole number, and not string"})
	ada.Push("crash", nil)
	if faults := stage.Faults(); len(faults) != 1 {
		t.Fatal(faults)
	}
}
