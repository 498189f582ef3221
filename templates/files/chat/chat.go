package main

import (
	"bennu.dev/bennu"
	"bennu.dev/bennu/host"
)

// Chat is a member's own state. The host keeps it between calls, and across reloads.
type Chat struct{ User string }

// Socket is a member of a topic without a room.
type Socket = bennu.Socket[bennu.None]

func init() { bennu.Serve[Chat, bennu.None]("room:*") }

func (c *Chat) Join(socket *Socket, params bennu.Payload) (_ any, err error) {
	if c.User, err = bennu.Field[string](params, "user"); err != nil {
		return nil, err
	}
	socket.BroadcastFrom("joined", bennu.M{"user": c.User})
	socket.PushPresences()
	socket.Track(c.User, bennu.M{"online_at": host.Now().UnixMilli()})
	return nil, nil
}

func (c *Chat) HandleIn(socket *Socket, event string, payload bennu.Payload) (any, error) {
	if event != "new_msg" {
		return bennu.UnknownEvent(event)
	}
	body, err := bennu.Field[string](payload, "body")
	if err != nil {
		return nil, err
	}
	socket.Broadcast("new_msg", bennu.M{"user": c.User, "body": body})
	return bennu.M{}, nil
}

func (c *Chat) Terminate(socket *Socket, _ bennu.Ending) { socket.Broadcast("left", bennu.M{"user": c.User}) }

// A plugin is a library: the host calls the channels, and not main.
func main() {}
