package main

import (
	"testing"
	"time"

	"bennu.dev/bennu"
	"bennu.dev/bennu/bennutest"
)

// target is what a member sees of the target.
func target(member *bennutest.Member) any { return member.RoomState().(bennu.M)["target"] }

func assertScores(t *testing.T, member *bennutest.Member, want bennu.M) {
	t.Helper()
	if scores := member.RoomState().(bennu.M)["scores"]; !bennutest.Matches(want, scores) || len(scores.(bennu.M)) != len(want) {
		t.Fatalf("the scores are %v, and not %v", scores, want)
	}
}

func TestAHitIsAPointAndAMissIsNone(t *testing.T) {
	stage := bennutest.New(t)
	ada := stage.Join("game:1", bennu.M{"user": "Ada"})
	bo := stage.Join("game:1", bennu.M{"user": "Bo"})
	ada.Push("hit", target(ada))
	ada.AssertReply("ok", bennu.M{})
	bo.Push("hit", bennu.M{"x": 9, "y": 9})
	bo.AssertReply("error", bennu.M{"reason": "missed"})
	assertScores(t, bo, bennu.M{"Ada": 1, "Bo": 0})
}

func TestAPlayerWhoComesBackInTimeKeepsTheScore(t *testing.T) {
	stage := bennutest.New(t)
	ada := stage.Join("game:1", bennu.M{"user": "Ada"})
	bo := stage.Join("game:1", bennu.M{"user": "Bo"})
	ada.Push("hit", target(ada))
	ada.Close()
	stage.Advance(9 * time.Second)
	assertScores(t, stage.Join("game:1", bennu.M{"user": "Ada"}), bennu.M{"Ada": 1, "Bo": 0})
	bo.Close()
	stage.Advance(11 * time.Second)
	assertScores(t, stage.Join("game:1", bennu.M{"user": "Cy"}), bennu.M{"Ada": 1, "Cy": 0})
}
