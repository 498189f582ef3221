package main

import (
	"encoding/json"
	"strings"
	"time"

	"bennu.dev/bennu"
	"bennu.dev/bennu/entries"
	"bennu.dev/bennu/internal/abi"
)

// Forgiving is a member that stays after a fault.
type Forgiving struct {
	Count    int
	FailsOut bool
}

func (f *Forgiving) Join(_ *Socket, params bennu.Payload) (any, error) {
	f.FailsOut = read(params)["fails_out"] == true
	return nil, nil
}

func (f *Forgiving) HandleIn(socket *Socket, event string, payload bennu.Payload) (any, error) {
	switch event {
	case "count":
		f.Count++
	case "count_and_fail":
		f.Count++
		socket.Broadcast("counted", nil)
		fail("asked to fail after it counted")
	case "self_fail":
		socket.SendSelf("fail", bennu.M{})
	case "secret":
		socket.Broadcast(event, payload)
	default:
		return bennu.UnknownEvent(event)
	}
	return bennu.M{"count": f.Count}, nil
}

func (f *Forgiving) HandleInfo(*Socket, bennu.Message) error {
	fail("asked to fail in handle_info")
	return nil
}

func (f *Forgiving) HandleOut(bennu.Recipient, string, bennu.Payload) (bennu.Decision, error) {
	if f.FailsOut {
		fail("asked to fail in handle_out")
	}
	return bennu.Pass, nil
}

// Lasting is a member of a topic with stored entries and no room.
type Lasting struct{}

func (*Lasting) Join(*Socket, bennu.Payload) (any, error) { return nil, nil }

func (*Lasting) HandleIn(socket *Socket, event string, payload bennu.Payload) (any, error) {
	if answer, err, is := entryEvent(socket.Discard, event, read(payload)); is {
		return answer, err
	}
	return bennu.UnknownEvent(event)
}

func (Lasting) HandleMessage(topic *Topic, event string, payload bennu.Payload) (any, error) {
	if answer, err, is := entryEvent(topic.Discard, event, read(payload)); is {
		return answer, err
	}
	return bennu.UnknownEvent(event)
}

// Hall is the room of `unruly:*`.
type Hall struct {
	Count   int
	Ended   []string
	Mood    string
	Ballast string
}

func (h *Hall) Defaults() { *h = Hall{Ended: []string{}, Mood: "tell"} }

// Unruly is a member of a topic with a room.
type Unruly struct{}

func (*Unruly) Join(*bennu.Socket[Hall], bennu.Payload) (any, error) { return nil, nil }

// shared handles the events of members and of topic messages.
func shared(topic *bennu.Topic[Hall], event string, fields Fields) (any, bool) {
	hall := topic.Room()
	switch event {
	case "count":
		hall.Count++
		return bennu.M{"count": hall.Count}, true
	case "look":
		return bennu.M{"count": hall.Count, "ended": hall.Ended}, true
	case "publish":
		topic.PublishState(fields["state"])
		return ok, true
	}
	return nil, false
}

func (*Unruly) HandleIn(socket *bennu.Socket[Hall], event string, payload bennu.Payload) (any, error) {
	fields := read(payload)
	if answer, is := shared(&socket.Topic, event, fields); is {
		return answer, nil
	}
	if answer, err, is := entryEvent(socket.Discard, event, fields); is {
		return answer, err
	}
	duration := time.Duration(number(fields, "ms")) * time.Millisecond
	switch event {
	case "tick":
		socket.Tick(duration)
	case "at_tick":
		socket.Room().Mood = text(fields, "mood")
	case "sit":
		socket.TakeSeat(text(fields, "seat"), duration)
	case "rise":
		socket.LeaveSeat()
	case "publish_raw":
		abi.PublishState(text(fields, "state"))
	case "clear":
		socket.ClearRoom()
	case "stop":
		socket.Stop("asked to")
		return nil, nil
	case "grow":
		socket.Room().Ballast = strings.Repeat("x", 1<<20)
	case "count_and_refuse":
		socket.Room().Count++
		socket.PublishState(bennu.M{"late": true})
		socket.TakeSeat("late", time.Second)
		return nil, bennu.Refuse("too late")
	case "count_and_fail":
		socket.Room().Count++
		fail("asked to fail after it counted")
	default:
		return bennu.UnknownEvent(event)
	}
	return ok, nil
}

func (Unruly) HandleMessage(topic *bennu.Topic[Hall], event string, payload bennu.Payload) (any, error) {
	fields := read(payload)
	if answer, is := shared(topic, event, fields); is {
		return answer, nil
	}
	switch event {
	case "entry_put", "entry_get", "entry_delete", "entries":
		answer, err, _ := entryEvent(topic.Discard, event, fields)
		return answer, err
	}
	return bennu.UnknownEvent(event)
}

func (Unruly) HandleSeat(topic *bennu.Topic[Hall], seat string, change bennu.SeatChange) error {
	topic.Broadcast("seat", bennu.M{"seat": seat, "change": change})
	return nil
}

func (Unruly) HandleTick(topic *bennu.Topic[Hall], tick bennu.Tick) error {
	if topic.Room().Mood == "fail" {
		fail("asked to fail in handle_tick")
	}
	topic.Broadcast("beat", bennu.M{"number": tick.Number, "missed": tick.Missed, "period_ms": tick.Period.Milliseconds()})
	return nil
}

func (*Unruly) Terminate(socket *bennu.Socket[Hall], ending bennu.Ending) {
	socket.Room().Ended = append(socket.Room().Ended, ending.Cause)
}

func (Unruly) UpgradeEntry(key string, version uint32, value []byte) ([]byte, error) {
	if entriesVersion == 0 {
		return value, nil
	}
	if key == "refused" {
		fail("it refuses this entry")
	}
	return json.Marshal(bennu.M{"from": version, "was": json.RawMessage(value)})
}

// Public is a member of a topic that publishes the entries with the prefixes `p/` and `q/`.
type Public struct{}

func putAll(value any) {
	fields, _ := value.(Fields)
	for key, value := range fields {
		if value == nil {
			entries.Delete(key)
		} else {
			entries.Put(key, value)
		}
	}
}

func (*Public) Join(_ *Socket, params bennu.Payload) (any, error) {
	fields := read(params)
	follow, _ := fields["follow"].([]any)
	for _, prefix := range follow {
		entries.Follow(prefix.(string))
	}
	putAll(fields["put"])
	return nil, nil
}

func (*Public) HandleIn(socket *Socket, event string, payload bennu.Payload) (any, error) {
	fields := read(payload)
	prefix := text(fields, "prefix")
	switch event {
	case "put":
		putAll(fields)
	case "put_then_fail":
		putAll(fields)
		fail("asked to fail after a put")
	case "follow":
		entries.Follow(prefix)
	case "unfollow":
		entries.Unfollow(prefix)
	case "follows":
		for n := range number(fields, "count") {
			entries.Follow(prefix + string(rune('A'+n)))
		}
	case "publish":
		socket.PublishState(fields["state"])
	case "put_null":
		entries.Put("p/null", nil)
	case "put_messagepack":
		entries.PutBytes("p/text", append([]byte{0xa4}, "text"...))
	case "put_much":
		for n := range 3 {
			entries.Put("p/"+string(rune('0'+n)), strings.Repeat("x", 1_000_000))
		}
	default:
		return bennu.UnknownEvent(event)
	}
	return ok, nil
}

func (Public) HandleMessage(_ *Topic, event string, payload bennu.Payload) (any, error) {
	if event != "put" {
		return bennu.UnknownEvent(event)
	}
	putAll(read(payload))
	return ok, nil
}
