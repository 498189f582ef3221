// The plugin `naughty` in Go, with the parts that tests/scripts uses. guest-examples/naughty describes the events. What the SDK would
// refuse before the host does goes to the contract directly.
package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"bennu.dev/bennu"
	"bennu.dev/bennu/entries"
	"bennu.dev/bennu/http"
	"bennu.dev/bennu/internal/abi"
	"bennu.dev/bennu/store"
	"bennu.dev/bennu/topics"
)

func init() { serve() }

func serve() {
	bennu.Serve[Naughty, bennu.None]("naughty:*", bennu.Options{Intercepts: []string{"secret"}})
	bennu.Serve[Unruly, Hall]("unruly:*", bennu.Options{
		Linger: 100 * time.Millisecond, TickFaults: 3, EntriesVersion: entriesVersion,
	})
	bennu.Serve[Public, bennu.None]("public:*", bennu.Options{
		Entries: true, Linger: 100 * time.Millisecond, Publishes: []string{"p/", "q/"},
	})
	bennu.Serve[Forgiving, bennu.None]("forgiving:*", bennu.Options{KeepOnFault: true, Intercepts: []string{"secret"}})
	bennu.Serve[Lasting, bennu.None]("lasting:*", bennu.Options{Entries: true, Durable: true, Linger: -1})
}

func main() {}

// Fields are the fields of a payload.
type Fields = map[string]any

// ok is an answer without fields.
var ok = bennu.M{}

// fail fails the callback.
func fail(why string) { panic(why) }

// number is a field that is a number.
func number(fields Fields, name string) int {
	value, _ := fields[name].(float64)
	return int(value)
}

func text(fields Fields, name string) string {
	value, _ := fields[name].(string)
	return value
}

// read reads the fields of a payload. Another payload has none.
func read(payload bennu.Payload) Fields {
	var value any
	if payload.JSON() == "" || json.Unmarshal([]byte(payload.JSON()), &value) != nil {
		return nil
	}
	fields, _ := value.(Fields)
	return fields
}

// need refuses a payload without these fields.
func need(fields Fields, names ...string) error {
	for _, name := range names {
		if _, is := fields[name]; !is {
			return bennu.Refuse("%s: missing", name)
		}
	}
	return nil
}

// Naughty is a member of `naughty:*`.
type Naughty struct {
	Mood    string
	Timer   *uint64
	Ballast string
}

type (
	// Socket is a member of a topic without a room.
	Socket = bennu.Socket[bennu.None]
	// Topic is a topic without a room.
	Topic = bennu.Topic[bennu.None]
)

func (n *Naughty) Defaults() { n.Mood = "pass" }

func (n *Naughty) Join(socket *Socket, params bennu.Payload) (any, error) {
	switch socket.TopicName() {
	case "naughty:join_fail":
		fail("asked to fail in join")
	case "naughty:join_refuse":
		socket.Broadcast("refused", nil)
		return nil, bennu.Refuse("nobody may join here")
	}
	fields := read(params)
	if mood, is := fields["mood"].(string); is {
		n.Mood = mood
	}
	if request, is := fields["http_get"].(Fields); is {
		socket.Push("asked", httpGet(request))
	}
	return bennu.M{"member": socket.ID()}, nil
}

func (n *Naughty) HandleIn(socket *Socket, event string, payload bennu.Payload) (any, error) {
	switch event {
	case "echo":
		return payload, nil
	case "shout":
		socket.Broadcast(event, payload)
		return ok, nil
	}
	fields := read(payload)
	for _, handle := range []func(*Socket, string, Fields) (any, error, bool){
		n.effect, n.elsewhere, n.mistake, stored, timedOfMember, entryOfMember, asked,
	} {
		if answer, err, is := handle(socket, event, fields); is {
			return answer, err
		}
	}
	return bennu.UnknownEvent(event)
}

// effect handles the events that ask for effects of the member.
func (n *Naughty) effect(socket *Socket, event string, fields Fields) (answer any, err error, is bool) {
	answer, is = ok, true
	switch event {
	case "push", "broadcast", "broadcast_from":
		if err := need(fields, "event", "payload"); err != nil {
			return nil, err, true
		}
		send := map[string]func(string, any){"push": socket.Push, "broadcast": socket.Broadcast, "broadcast_from": socket.BroadcastFrom}
		send[event](text(fields, "event"), fields["payload"])
	case "broadcast_droppable":
		kind, data := packed(fields["payload"])
		abi.BroadcastDroppable(text(fields, "key"), text(fields, "event"), kind, data)
	case "broadcast_from_droppable":
		socket.BroadcastFromDroppable(text(fields, "key"), text(fields, "event"), fields["payload"])
	case "publish_droppable":
		socket.PublishDroppable(text(fields, "topic"), text(fields, "key"), text(fields, "event"), fields["payload"])
	case "tell":
		socket.Broadcast("secret", fields)
	case "later":
		socket.SendAfter(time.Duration(number(fields, "ms"))*time.Millisecond, event, bennu.M{"to": socket.Ref()})
		return nil, nil, true
	case "twice":
		socket.Reply(socket.Ref(), bennu.M{"first": true})
		answer = bennu.M{"second": true}
	case "late_bytes":
		socket.Reply(socket.Ref(), strings.Repeat("x", number(fields, "bytes")))
		return nil, nil, true
	case "timer":
		timer := socket.SendAfter(time.Duration(number(fields, "ms"))*time.Millisecond, event, bennu.M{})
		n.Timer = &timer
		answer = bennu.M{"timer": timer}
	case "cancel":
		if n.Timer != nil {
			socket.Cancel(*n.Timer)
		}
		n.Timer = nil
	case "self", "info_stop", "info_fail", "info_reply", "flood":
		socket.SendSelf(event, bennu.M{})
	case "refuse_late":
		manyEffects(socket, fields)
		return nil, bennu.Refuse("too late"), true
	case "discard":
		manyEffects(socket, fields)
		socket.Discard()
	case "push_after_discard":
		socket.Discard()
		socket.Push("late", nil)
	case "put_after_discard":
		socket.Discard()
		store.Put("late", 1)
	case "stop":
		socket.Stop("asked to")
		return nil, nil, true
	case "stop_reply":
		socket.Stop("asked to")
		answer = bennu.M{"last": "words"}
	case "status":
		answer = bennu.Reply{Status: text(fields, "status")}
	case "no_reply":
		return nil, nil, true
	case "tick":
		socket.Tick(100 * time.Millisecond)
	case "track":
		socket.Track(text(fields, "key"), fields["meta"])
	case "track_text":
		abi.Track(text(fields, "key"), text(fields, "meta"))
	case "update_presence":
		socket.UpdatePresence(text(fields, "key"), fields["meta"])
	case "untrack":
		socket.Untrack(text(fields, "key"))
	case "push_presence":
		socket.PushPresences()
	default:
		return nil, nil, false
	}
	return answer, nil, is
}

// elsewhere handles the events about more than the member.
func (n *Naughty) elsewhere(socket *Socket, event string, fields Fields) (any, error, bool) {
	topic, name, payload := text(fields, "topic"), text(fields, "event"), fields["payload"]
	switch event {
	case "publish":
		socket.Publish(topic, name, payload)
	case "send":
		socket.Send(topic, name, payload)
	case "send_member":
		socket.SendMember(topic, uint64(number(fields, "member")), name, payload)
	case "push_to_socket":
		socket.PushToSocket(topic, text(fields, "id"), name, payload)
	case "subscribe":
		socket.Subscribe(topic)
	case "unsubscribe":
		socket.Unsubscribe(topic)
	case "disconnect":
		socket.Disconnect(text(fields, "id"))
	case "people":
		people := []any{}
		for _, member := range topics.Members(topic) {
			if member.User == "" {
				people = append(people, nil)
			} else {
				people = append(people, member.User)
			}
		}
		return people, nil, true
	case "topics":
		list := [][2]any{}
		for _, topic := range topics.Under(text(fields, "prefix"), "") {
			list = append(list, [2]any{topic.Name, topic.Members})
		}
		return list, nil, true
	default:
		return nil, nil, false
	}
	return ok, nil, true
}

// packed is a payload as the contract has it.
func packed(value any) (uint32, string) {
	data, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return abi.JSON, string(data)
}

// manyEffects asks for effects that a test would notice.
func manyEffects(socket *Socket, fields Fields) {
	socket.Push("late", nil)
	socket.Broadcast("late", nil)
	socket.SendSelf("self", bennu.M{})
	socket.SendAfter(10*time.Millisecond, "timer", bennu.M{})
	socket.Track("late", nil)
	socket.Subscribe("naughty:late")
	store.Put(text(fields, "key"), fields["value"])
}

// mistake handles the events that end the member.
func (n *Naughty) mistake(socket *Socket, event string, fields Fields) (any, error, bool) {
	switch event {
	case "fail":
		fail("asked to fail")
	case "huge":
		return strings.Repeat("x", number(fields, "bytes")), nil, true
	case "huge_assigns":
		n.Ballast = strings.Repeat("x", 1<<20)
	case "long_status":
		abi.Reply(socket.Ref(), strings.Repeat("s", 256), abi.JSON, "{}")
	case "push_array":
		abi.Push("array", abi.JSON, "[1]")
	case "bad_json":
		abi.Push("bad", abi.JSON, `{"a":`)
	case "bad_ref":
		abi.Reply(`"1",`, "ok", abi.JSON, "{}")
	case "publish_elsewhere":
		socket.Publish("elsewhere:1", "hello", nil)
	case "long_event":
		abi.Push(strings.Repeat("e", 256), abi.JSON, "{}")
	case "effects":
		for n := range 1_000_000 {
			socket.Push("one_of_many", bennu.M{"n": n})
		}
	case "timers":
		for range 17 {
			socket.SendAfter(time.Minute, "timer", bennu.M{})
		}
	case "short_timer":
		socket.SendAfter(9*time.Millisecond, "timer", bennu.M{})
	case "log_lines":
		for n := range 257 {
			abi.Log(abi.Info, fmt.Sprint("line ", n))
		}
	default:
		return nil, nil, false
	}
	return ok, nil, true
}

func (n *Naughty) HandleInfo(socket *Socket, message bennu.Message) error {
	heard := bennu.M{"topic": message.Topic, "event": message.Event, "payload": message.Payload}
	switch message.Source {
	case "http":
		socket.Push(message.Event, shown(http.Answer(message.Payload)))
		return nil
	case "topic":
		socket.Push("heard", heard)
		return nil
	case "answer":
		socket.Push("answered", heard)
		return nil
	case "member":
		socket.Push("addressed", heard)
		return nil
	}
	switch message.Event {
	case "later":
		to, err := bennu.Field[string](message.Payload, "to")
		if err != nil {
			return err
		}
		socket.Reply(to, bennu.M{"late": true})
	case "self":
		socket.Push("told", bennu.M{"source": message.Source})
	case "secret":
		socket.Push("handed_over", message.Payload)
	case "info_stop":
		socket.Stop("asked to")
	case "info_fail":
		fail("asked to fail in handle_info")
	case "info_reply":
		fail("handle_info can't reply: the SDK has no way to")
	case "timer":
		n.Timer = nil
		socket.Push("rang", nil)
	case "flood":
		for range 600 {
			socket.SendSelf("flood", bennu.M{})
		}
	}
	return nil
}

func (Naughty) HandleMessage(topic *Topic, event string, payload bennu.Payload) (any, error) {
	fields := read(payload)
	if answer, is := timed(topic.TopicName(), event, fields); is {
		return answer, refusedOf(event)
	}
	switch event {
	case "wait_for_answer":
		store.Put("waiting:"+topic.TopicName(), topic.AnswerRef())
		topic.Broadcast("asked", nil)
		return nil, nil
	case "give_answer":
		return giveAnswer(fields, topic.Answer), nil
	case "echo":
		return payload, nil
	case "shout":
		topic.Broadcast(event, payload)
	case "shout_droppable":
		topic.BroadcastDroppable("shouts", "shout", payload)
		topic.PublishDroppable(text(fields, "to"), "shouts", "shout", payload)
	case "refuse":
		return nil, bennu.Refuse("no")
	case "refuse_late":
		topic.Broadcast("late", nil)
		store.Put(text(fields, "key"), fields["value"])
		return nil, bennu.Refuse("too late")
	case "tell_member":
		topic.SendMember(text(fields, "topic"), uint64(number(fields, "member")), "told", bennu.M{})
		topic.PushToSocket(text(fields, "topic"), text(fields, "id"), "shown", nil)
	case "crash":
		fail("asked to fail in handle_message")
	case "put":
		store.Put(text(fields, "key"), fields["value"])
		return ok, nil
	case "http_get":
		return httpGet(fields), nil
	case "http_send":
		return httpSend(fields), nil
	case "deliver":
		return deliver(fields), nil
	case "quiet":
	default:
		return bennu.UnknownEvent(event)
	}
	return nil, nil
}

func (Naughty) HandleTopicInfo(topic *Topic, message bennu.TopicMessage) error {
	if message.Event == "http_answer" {
		topic.Broadcast(message.Event, shown(http.Answer(message.Payload)))
		return nil
	}
	if message.Event == "undelivered" {
		fields := read(message.Payload)
		counter := "undelivered:" + text(fields, "url")
		times, _ := store.Get[int](counter)
		store.Put(counter, times+1)
		topic.Broadcast(message.Event, bennu.M{
			"url": fields["url"], "status": fields["status"], "reason": fields["reason"], "times": times + 1,
		})
		return nil
	}
	told(topic, message)
	return nil
}

func (n *Naughty) HandleOut(recipient bennu.Recipient, event string, payload bennu.Payload) (bennu.Decision, error) {
	switch n.Mood {
	case "replace":
		return bennu.Replace(bennu.M{"for": recipient.ID, "secret": payload}), nil
	case "replace_with_array":
		return bennu.Replace([]int{1}), nil
	case "fail":
		fail("asked to fail in handle_out")
	case "store":
		store.Put("secret", true)
	case "entry":
		entries.Put("secret", true)
	case "ask":
		abi.Push("asked", abi.JSON, payload.JSON())
	case "drop":
		return bennu.Drop, nil
	case "hand_over":
		return bennu.HandOver, nil
	}
	return bennu.Pass, nil
}

func (n *Naughty) Terminate(socket *Socket, ending bennu.Ending) {
	if socket.TopicName() == "naughty:last_words" {
		socket.Push("last_words", bennu.M{"timer": socket.SendAfter(time.Second, "timer", bennu.M{})})
	}
	socket.Broadcast("gone", bennu.M{"member": socket.ID(), "cause": ending.Cause, "detail": ending.Detail})
}
