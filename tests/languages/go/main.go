// The channel of the test of projects in Go: everything that a host does for a channel, with a build number that the test changes.
package main

import (
	"time"

	"bennu.dev/bennu"
	"bennu.dev/bennu/store"
)

const build = 1

// Member is a member's state.
type Member struct {
	User string
	Sent int
}

// Room is what the members of a topic share.
type Room struct{ Messages int }

type Socket = bennu.Socket[Room]

func init() { bennu.Serve[Member, Room]("room:*") }

func (m *Member) Join(socket *Socket, params bennu.Payload) (any, error) {
	user, err := bennu.Field[string](params, "user")
	if err != nil {
		return nil, err
	}
	m.User = user
	visits, _ := store.Get[int]("visits/" + user)
	store.Put("visits/"+user, visits+1)
	socket.BroadcastFrom("joined", bennu.M{"user": user})
	socket.PushPresences()
	socket.Track(user, bennu.M{"build": build})
	return bennu.M{"visits": visits + 1}, nil
}

func (m *Member) HandleIn(socket *Socket, event string, payload bennu.Payload) (any, error) {
	switch event {
	case "new_msg":
		m.Sent++
		socket.Room().Messages++
		socket.Broadcast("new_msg", bennu.M{"user": m.User, "payload": payload})
		return bennu.M{"sent": m.Sent, "messages": socket.Room().Messages, "build": build}, nil
	case "remind":
		ms, err := bennu.Field[int](payload, "ms")
		if err != nil {
			return nil, err
		}
		socket.SendAfter(time.Duration(ms)*time.Millisecond, "reminder", bennu.M{"sent": m.Sent})
		return bennu.M{}, nil
	case "refused":
		m.Sent = 1000
		return nil, bennu.Refuse("no")
	case "crash":
		return second(nil), nil
	}
	return bennu.UnknownEvent(event)
}

func (m *Member) HandleInfo(socket *Socket, message bennu.Message) error {
	socket.Push(message.Event, bennu.M{"payload": message.Payload, "build": build})
	return nil
}

func second(list []int) int { return list[1] }

func main() {}
