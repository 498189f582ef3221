package main

import (
	"testing"
	"time"

	"bennu.dev/bennu"
	"bennu.dev/bennu/bennutest"
)

// assertCounts asserts what a member sees.
func assertCounts(t *testing.T, member *bennutest.Member, want bennu.M) {
	t.Helper()
	if state := member.RoomState(); !bennutest.Matches(want, state) {
		t.Fatalf("the poll is %v, and not %v", state, want)
	}
}

func TestAllMembersSeeTheSameCounts(t *testing.T) {
	stage := bennutest.New(t)
	ada := stage.Join("poll:drinks", bennu.M{"user": "Ada"})
	bo := stage.Join("poll:drinks", bennu.M{"user": "Bo"})

	ada.Push("vote", bennu.M{"choice": "tea"})
	bo.Push("vote", bennu.M{"choice": "tea"})
	ada.Push("vote", bennu.M{"choice": "water"})
	ada.AssertReply("ok", bennu.M{})
	for _, member := range []*bennutest.Member{ada, bo} {
		assertCounts(t, member, bennu.M{"counts": bennu.M{"tea": 1, "coffee": 0, "water": 1}})
	}
}

func TestARoundEndsAlthoughNobodyIsThere(t *testing.T) {
	stage := bennutest.New(t)
	ada := stage.Join("poll:drinks", bennu.M{"user": "Ada"})
	ada.Push("vote", bennu.M{"choice": "water"})
	ada.Close()
	stage.Advance(time.Minute)

	bo := stage.Join("poll:drinks", bennu.M{"user": "Bo"})
	assertCounts(t, bo, bennu.M{"counts": bennu.M{"tea": 0, "coffee": 0, "water": 0}, "winner": "water"})
}

func TestOnlyTheChoicesCanBeVotedFor(t *testing.T) {
	ada := bennutest.New(t).Join("poll:drinks", bennu.M{"user": "Ada"})
	ada.Push("vote", bennu.M{"choice": "milk"})
	ada.AssertReply("error", bennu.M{"reason": "choice: expected one of tea, coffee, water"})
}
