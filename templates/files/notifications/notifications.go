package main

import (
	"strings"

	"bennu.dev/bennu"
	"bennu.dev/bennu/host"
	"bennu.dev/bennu/store"
)

// Inbox is one window of a user. Each user has a topic, such as `inbox:ada`.
type Inbox struct{}

type Note struct {
	ID   string `json:"id"`
	Text string `json:"text"`
	At   int64  `json:"at"`
}

type Socket = bennu.Socket[bennu.None]
type Topic = bennu.Topic[bennu.None]

func init() { bennu.Serve[Inbox, bennu.None]("inbox:*") }

func (*Inbox) Join(socket *Socket, _ bennu.Payload) (any, error) {
	// With tokens, let only the owner in: if socket.TopicName() != "inbox:"+socket.User() { return nil, bennu.Refuse("not yours") }
	unread := []Note{}
	for _, note := range store.All[Note](store.Range{Prefix: socket.TopicName() + "/"}) {
		unread = append(unread, note)
	}
	return bennu.M{"unread": unread}, nil
}

func (*Inbox) HandleIn(socket *Socket, event string, payload bennu.Payload) (any, error) {
	switch event {
	// All windows of the user drop a note that was read in one of them.
	case "read":
		id, err := bennu.Field[string](payload, "id")
		if err != nil {
			return nil, err
		}
		store.Delete(socket.TopicName() + "/" + id)
		socket.Broadcast("read", bennu.M{"id": id})
		return bennu.M{}, nil
	case "tell":
		var tell struct{ User, Text string }
		if err := payload.Into(&tell); err != nil {
			return nil, err
		}
		socket.Send("inbox:"+tell.User, "notify", bennu.M{"text": tell.Text})
		return bennu.M{}, nil
	}
	return bennu.UnknownEvent(event)
}

// HandleMessage gets messages to the topic, also from other programs: bennu send inbox:ada notify '{"text": "hi"}'
func (Inbox) HandleMessage(topic *Topic, event string, payload bennu.Payload) (any, error) {
	if event != "notify" {
		return bennu.UnknownEvent(event)
	}
	if strings.Contains(topic.TopicName(), "/") {
		return nil, bennu.Refuse("an inbox has no / in its name")
	}
	text, err := bennu.Field[string](payload, "text")
	if err != nil {
		return nil, err
	}
	note := Note{ID: host.UniqueID(), Text: text, At: host.Now().UnixMilli()}
	store.Put(topic.TopicName()+"/"+note.ID, note)
	topic.Broadcast("notified", note)
	return bennu.M{"id": note.ID}, nil
}

// A plugin is a library: the host calls the channels, and not main.
func main() {}
