package bennu

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"time"

	"bennu.dev/bennu/internal/abi"
	"bennu.dev/bennu/internal/plugin"
)

// Serve makes C the channel of a topic, or of a prefix with a star such as `room:*`. Call it in `init`.
func Serve[C, R any, P interface {
	*C
	Channel[R]
}](pattern string, options ...Options) {
	var chosen Options
	if len(options) > 0 {
		chosen = options[0]
	}
	checkState(reflect.TypeFor[C]())
	checkState(reflect.TypeFor[R]())
	checkMethods[C, R]()
	_, isRoomless := any(new(R)).(*None)
	route := &route[C, R, P]{
		hasRoom: !isRoomless, isPlain: isPlain(reflect.TypeFor[C]()), isRoomPlain: isPlain(reflect.TypeFor[R]()),
	}
	plugin.Routes = append(plugin.Routes, plugin.Route{
		Pattern:        pattern,
		Intercepts:     chosen.Intercepts,
		AssignsVersion: chosen.Version,
		RoomVersion:    chosen.RoomVersion,
		Options:        chosen.settings(!isRoomless),
		Run:            route.run,
	})
}

// settings are the options as the contract has them.
func (o Options) settings(hasRoom bool) (settings []abi.Pair) {
	add := func(is bool, name, value string) {
		if is {
			settings = append(settings, abi.Pair{Name: name, Value: value})
		}
	}
	number := func(name string, value int64) {
		add(value != 0, name, strconv.FormatInt(max(value, 0), 10))
	}
	room := "memory"
	if o.Durable {
		room = "durable"
	}
	add(hasRoom || o.Entries || o.Durable, "room", room)
	add(o.OneAtATime, "turns", "topic")
	add(o.KeepOnFault, "on-fault", "keep")
	if o.Linger < 0 {
		o.Linger = -time.Millisecond
	}
	number("linger-ms", o.Linger.Milliseconds())
	number("tick-faults", int64(o.TickFaults))
	number("entries-version", int64(o.EntriesVersion))
	number("history-count", int64(o.HistoryCount))
	number("history-ms", o.HistoryAge.Milliseconds())
	for _, prefix := range o.Publishes {
		add(true, "publishes", prefix)
	}
	for _, topic := range o.StartTopics {
		add(true, "start-topics", topic)
	}
	return settings
}

// route runs the callbacks of a channel.
type route[C, R any, P interface {
	*C
	Channel[R]
}] struct {
	hasRoom bool
	// isPlain and isRoomPlain are those of the states.
	isPlain, isRoomPlain bool
}

// turn is one call with the decoded states.
type turn[C, R any, P interface {
	*C
	Channel[R]
}] struct {
	route  *route[C, R, P]
	me     state[C]
	socket Socket[R]
}

func (r *route[C, R, P]) run(call *plugin.Call) (plugin.Result, error) {
	turn := turn[C, R, P]{route: r, me: state[C]{bytes: call.Assigns, isPlain: r.isPlain}}
	room := state[R]{bytes: call.Room, isPlain: r.isRoomPlain}
	turn.socket = Socket[R]{Topic: Topic[R]{name: call.Topic, room: room}, id: call.Member, ref: call.Ref}
	switch call.Name {
	case "join", "handle_in", "handle_info", "terminate":
		return turn.ofMember(call)
	case "handle_out":
		return turn.decide(call)
	case "upgrade", "upgrade_entry":
		return turn.upgrade(call)
	}
	return turn.ofTopic(call)
}

// ofMember runs a callback of a member.
func (t *turn[C, R, P]) ofMember(call *plugin.Call) (plugin.Result, error) {
	me, socket, payload := P(t.me.value()), &t.socket, Payload{call.Payload}
	switch call.Name {
	case "join":
		response, err := me.Join(socket, payload)
		if response == nil {
			response = M{}
		}
		result, err := t.end(response, err)
		if err == nil && result.Stop != nil {
			err = fmt.Errorf("Join can't stop the member: return a Refusal")
		}
		if err == nil && result.Assigns == nil {
			result.Assigns, err = json.Marshal(me)
		}
		return result, err
	case "handle_in":
		return t.end(me.HandleIn(socket, call.Event, payload))
	case "handle_info":
		handler, ok := any(me).(InfoHandler[R])
		if !ok {
			if call.Source != "answer" && call.Source != "http" {
				warn("no HandleInfo: the message %q from %s is ignored", call.Event, call.Source)
			}
			return plugin.Result{}, nil
		}
		return t.end(nil, handler.HandleInfo(socket, Message{call.Source, call.From, call.Event, payload}))
	}
	if handler, ok := any(me).(Terminator[R]); ok {
		handler.Terminate(socket, Ending{call.Cause, call.Detail})
	}
	return t.end(nil, nil)
}

// ofTopic runs a callback without a member.
func (t *turn[C, R, P]) ofTopic(call *plugin.Call) (plugin.Result, error) {
	me, topic, payload := any(P(new(C))), &t.socket.Topic, Payload{call.Payload}
	switch call.Name {
	case "handle_message":
		if handler, ok := me.(MessageHandler[R]); ok {
			return t.end(handler.HandleMessage(topic, call.Event, payload))
		}
		return t.end(UnknownEvent(call.Event))
	case "handle_topic_info":
		if handler, ok := me.(TopicInfoHandler[R]); ok {
			message := TopicMessage{Source: call.Source, Event: call.Event, Payload: payload}
			if due, is := abi.FiredDue(); is {
				message.Due, message.Key = time.UnixMilli(int64(due)), abi.FiredKey()
			}
			return t.end(nil, handler.HandleTopicInfo(topic, message))
		}
		warn("no HandleTopicInfo: the message %q from %s is ignored", call.Event, call.Source)
	case "handle_tick":
		if handler, ok := me.(Ticker[R]); ok {
			period := time.Duration(call.PeriodMS) * time.Millisecond
			return t.end(nil, handler.HandleTick(topic, Tick{call.Number, int(call.Missed), period}))
		}
		if call.Number <= 1 {
			warn("no HandleTick: the ticks of %q are ignored", call.Topic)
		}
	case "handle_seat":
		if handler, ok := me.(SeatHandler[R]); ok {
			return t.end(nil, handler.HandleSeat(topic, call.Seat, SeatChange(call.Change)))
		}
	}
	return plugin.Result{}, nil
}

// end encodes what a callback has returned and changed.
func (t *turn[C, R, P]) end(answer any, err error) (plugin.Result, error) {
	if err != nil {
		return plugin.Result{}, err
	}
	result := plugin.Result{Stop: t.socket.stop}
	if answer != nil {
		status, kind, data := reply(answer)
		result.Reply = &plugin.Reply{Status: status, Payload: abi.Payload{Kind: kind, Data: data}}
	}
	if result.Assigns, err = t.me.changed(); err != nil {
		return plugin.Result{}, err
	}
	if t.route.hasRoom {
		result.Room, err = t.socket.room.changed()
	}
	return result, err
}

// decide asks about an event for one recipient.
func (t *turn[C, R, P]) decide(call *plugin.Call) (plugin.Result, error) {
	handler, ok := any(P(t.me.value())).(OutHandler)
	if !ok {
		return plugin.Result{Decision: "pass"}, nil
	}
	decision, err := handler.HandleOut(Recipient{call.Member, call.Topic}, call.Event, Payload{call.Payload})
	if err != nil || decision.what != "replace" {
		return plugin.Result{Decision: decision.what}, err
	}
	kind, data := packObject(call.Event, decision.payload)
	return plugin.Result{Decision: decision.what, Instead: abi.Payload{Kind: kind, Data: data}}, nil
}

// upgrade upgrades what another version wrote. A channel without such a callback keeps it.
func (t *turn[C, R, P]) upgrade(call *plugin.Call) (result plugin.Result, err error) {
	me, old := first[C](), Payload{abi.Payload{Kind: abi.JSON, Data: string(call.State)}}
	if len(call.State) == 0 {
		old.raw.Data = "{}"
	}
	switch handler := any(P(me)); {
	case call.Name == "upgrade_entry":
		if handler, ok := handler.(EntryUpgrader); ok {
			result.State, err = handler.UpgradeEntry(call.Key, call.Version, call.State)
		}
	case call.Part == "room":
		if handler, ok := handler.(RoomUpgrader[R]); ok {
			var room R
			if room, err = handler.UpgradeRoom(call.Version, old); err == nil {
				result.State, err = json.Marshal(room)
			}
		}
	default:
		if handler, ok := handler.(Upgrader); ok {
			if err = handler.Upgrade(call.Version, old); err == nil {
				result.State, err = json.Marshal(me)
			}
		}
	}
	return result, err
}

func warn(format string, args ...any) { abi.Log(abi.Warn, fmt.Sprintf(format, args...)) }
