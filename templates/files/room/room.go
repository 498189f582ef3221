package main

import (
	"slices"
	"strings"
	"time"

	"bennu.dev/bennu"
	"bennu.dev/bennu/schedule"
)

var choices = []string{"tea", "coffee", "water"}

const round = time.Minute

// Voter is a member's own state.
type Voter struct{ User string }

// Poll is the state that all members of a topic share: the choice of each user, and who won the last round. It is stored.
type Poll struct {
	Votes  map[string]string
	Winner *string
}

type Socket = bennu.Socket[Poll]
type Topic = bennu.Topic[Poll]

func init() { bennu.Serve[Voter, Poll]("poll:*", bennu.Options{Durable: true}) }

// Defaults makes the first poll of a topic.
func (p *Poll) Defaults() { p.Votes = map[string]string{} }

func (v *Voter) Join(socket *Socket, params bennu.Payload) (_ any, err error) {
	if v.User, err = bennu.Field[string](params, "user"); err != nil {
		return nil, err
	}
	socket.PublishState(shown(socket.Room()))
	return nil, nil
}

func (v *Voter) HandleIn(socket *Socket, event string, payload bennu.Payload) (any, error) {
	if event != "vote" {
		return bennu.UnknownEvent(event)
	}
	choice, err := bennu.Field[string](payload, "choice")
	if err != nil {
		return nil, err
	}
	if !slices.Contains(choices, choice) {
		return nil, bennu.Refuse("choice: expected one of %s", strings.Join(choices, ", "))
	}
	poll := socket.Room()
	// The first vote begins a round.
	if len(poll.Votes) == 0 {
		schedule.After(socket.TopicName(), round, "round", "end", nil)
	}
	poll.Votes[v.User] = choice
	socket.PublishState(shown(poll))
	return bennu.M{}, nil
}

// HandleTopicInfo comes at the time of the schedule, also if everybody has left, and late if the host didn't run.
func (Voter) HandleTopicInfo(topic *Topic, message bennu.TopicMessage) error {
	if message.Event == "end" {
		poll := topic.Room()
		counts, winner := poll.counts(), choices[0]
		for _, choice := range choices {
			if counts[choice] > counts[winner] {
				winner = choice
			}
		}
		*poll = Poll{Votes: map[string]string{}, Winner: &winner}
		topic.PublishState(shown(poll))
	}
	return nil
}

func (p *Poll) counts() map[string]int {
	counts := map[string]int{}
	for _, choice := range choices {
		counts[choice] = 0
	}
	for _, choice := range p.Votes {
		counts[choice]++
	}
	return counts
}

// shown is the published state. Clients get all of it when they join, and then only what has changed.
func shown(poll *Poll) any {
	return bennu.M{"counts": poll.counts(), "winner": poll.Winner}
}

// A plugin is a library: the host calls the channels, and not main.
func main() {}
