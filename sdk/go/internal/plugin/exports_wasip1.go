package plugin

import (
	"unsafe"

	"bennu.dev/bennu/internal/abi"
)

// The exports of a plugin. The names and the layouts are those of the contract in `wit/`. `bennu` chooses the world by the exports.

// output is what the host reads after an export has returned. It stays until the next one.
var output = abi.NewArea(64)

// begin begins a callback.
func begin() {
	abi.Begin()
	output.Clear()
}

// fail writes the error of a result.
func fail(err error) unsafe.Pointer {
	output.Clear()
	output.PutU8(0, 1)
	output.PutText(4, err.Error())
	return abi.End(output)
}

//go:wasmexport bennu:channel/channel@0.1.0#describe
func describe() unsafe.Pointer {
	begin()
	list := abi.NewArea(32 * len(Routes))
	for n, route := range Routes {
		at := 32 * n
		list.PutText(at, route.Pattern)
		intercepts := abi.NewArea(8 * len(route.Intercepts))
		for n, event := range route.Intercepts {
			intercepts.PutText(8*n, event)
		}
		list.PutList(at+8, intercepts, len(route.Intercepts))
		list.PutU32(at+16, route.AssignsVersion)
		list.PutU32(at+20, route.RoomVersion)
		options := abi.NewArea(16 * len(route.Options))
		for n, option := range route.Options {
			options.PutText(16*n, option.Name)
			options.PutText(16*n+8, option.Value)
		}
		list.PutList(at+24, options, len(route.Options))
	}
	output.PutList(0, list, len(Routes))
	return abi.End(output)
}

// bytes are bytes that the host has written, or none.
func bytes(is uint32, start unsafe.Pointer, length uint32) []byte {
	if is == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(start), length)
}

func payload(kind uint32, start unsafe.Pointer, length uint32) abi.Payload {
	return abi.Payload{Kind: kind, Data: abi.TextAt(start, length)}
}

//go:wasmexport bennu:channel/channel@0.1.0#join
func join(member uint64, topic unsafe.Pointer, topicLen uint32, kind uint32, params unsafe.Pointer, paramsLen uint32, hasRoom uint32, room unsafe.Pointer, roomLen uint32) unsafe.Pointer {
	call := Call{
		Name: "join", Member: member, Topic: abi.TextAt(topic, topicLen),
		Payload: payload(kind, params, paramsLen), Room: bytes(hasRoom, room, roomLen),
	}
	begin()
	result, err := Run(&call)
	if err != nil {
		return fail(err)
	}
	if result.IsRefused {
		output.PutU8(4, 1)
		output.PutPayload(8, result.Reply.Payload)
		return abi.End(output)
	}
	output.PutText(8, abi.Shared(result.Assigns))
	output.PutOption(16, result.Room)
	output.PutPayload(28, result.Reply.Payload)
	return abi.End(output)
}

// The kinds of an answer.
const (
	answerReply = 1
	answerStop  = 2
)

func putReply(at int, reply *Reply) {
	output.PutText(at, reply.Status)
	output.PutPayload(at+8, reply.Payload)
}

// outcome writes the result of a member's callback.
func outcome(call *Call) unsafe.Pointer {
	begin()
	result, err := Run(call)
	if err != nil {
		return fail(err)
	}
	output.PutOption(4, result.Assigns)
	output.PutOption(16, result.Room)
	switch {
	case result.Stop != nil:
		output.PutU8(28, answerStop)
		output.PutText(32, *result.Stop)
		if result.Reply != nil {
			output.PutU8(40, 1)
			putReply(44, result.Reply)
		}
	case result.Reply != nil:
		output.PutU8(28, answerReply)
		putReply(32, result.Reply)
	}
	return abi.End(output)
}

//go:wasmexport bennu:channel/channel@0.1.0#handle-in
func handleIn(member uint64, topic unsafe.Pointer, topicLen uint32, assigns unsafe.Pointer, assignsLen uint32, hasRoom uint32, room unsafe.Pointer, roomLen uint32, event unsafe.Pointer, eventLen uint32, kind uint32, content unsafe.Pointer, contentLen uint32, hasRef uint32, ref unsafe.Pointer, refLen uint32) unsafe.Pointer {
	return outcome(&Call{
		Name: "handle_in", Member: member, Topic: abi.TextAt(topic, topicLen), Assigns: bytes(1, assigns, assignsLen),
		Room: bytes(hasRoom, room, roomLen), Event: abi.TextAt(event, eventLen), Payload: payload(kind, content, contentLen),
		Ref: string(bytes(hasRef, ref, refLen)),
	})
}

// handleInfo has more parameters than the contract's layout passes one by one, so they are in memory.
//
//go:wasmexport bennu:channel/channel@0.1.0#handle-info
func handleInfo(parameters unsafe.Pointer) unsafe.Pointer {
	in := abi.At(parameters)
	room, _ := in.Option(24)
	return outcome(&Call{
		Name: "handle_info", Member: in.U64(0), Topic: in.Text(8), Assigns: []byte(in.Text(16)), Room: []byte(room),
		Source: in.Text(40), From: in.Text(48), Event: in.Text(56), Payload: in.Payload(64),
	})
}

// changedRoom writes the result of a callback that only returns a room.
func changedRoom(call *Call) unsafe.Pointer {
	begin()
	result, err := Run(call)
	if err != nil {
		return fail(err)
	}
	output.PutOption(4, result.Room)
	return abi.End(output)
}

//go:wasmexport bennu:channel/channel@0.1.0#terminate
func terminate(member uint64, topic unsafe.Pointer, topicLen uint32, assigns unsafe.Pointer, assignsLen uint32, hasRoom uint32, room unsafe.Pointer, roomLen uint32, cause unsafe.Pointer, causeLen uint32, detail unsafe.Pointer, detailLen uint32) unsafe.Pointer {
	return changedRoom(&Call{
		Name: "terminate", Member: member, Topic: abi.TextAt(topic, topicLen), Assigns: bytes(1, assigns, assignsLen),
		Room: bytes(hasRoom, room, roomLen), Cause: abi.TextAt(cause, causeLen), Detail: abi.TextAt(detail, detailLen),
	})
}

//go:wasmexport bennu:channel/handle-topic-info@0.1.0#handle-topic-info
func handleTopicInfo(topic unsafe.Pointer, topicLen uint32, source unsafe.Pointer, sourceLen uint32, from unsafe.Pointer, fromLen uint32, event unsafe.Pointer, eventLen uint32, kind uint32, content unsafe.Pointer, contentLen uint32, hasRoom uint32, room unsafe.Pointer, roomLen uint32) unsafe.Pointer {
	return changedRoom(&Call{
		Name: "handle_topic_info", Topic: abi.TextAt(topic, topicLen), Source: abi.TextAt(source, sourceLen), From: abi.TextAt(from, fromLen),
		Event: abi.TextAt(event, eventLen), Payload: payload(kind, content, contentLen), Room: bytes(hasRoom, room, roomLen),
	})
}

//go:wasmexport bennu:channel/handle-tick@0.1.0#handle-tick
func handleTick(topic unsafe.Pointer, topicLen uint32, number uint64, missed, periodMS uint32, hasRoom uint32, room unsafe.Pointer, roomLen uint32) unsafe.Pointer {
	return changedRoom(&Call{
		Name: "handle_tick", Topic: abi.TextAt(topic, topicLen), Number: number, Missed: missed, PeriodMS: periodMS,
		Room: bytes(hasRoom, room, roomLen),
	})
}

// changes are the names of what happens to a seat, in the order of their numbers.
var changes = [...]string{"taken", "dropped", "returned", "gone"}

//go:wasmexport bennu:channel/handle-seat@0.1.0#handle-seat
func handleSeat(topic unsafe.Pointer, topicLen uint32, seat unsafe.Pointer, seatLen uint32, change uint32, hasRoom uint32, room unsafe.Pointer, roomLen uint32) unsafe.Pointer {
	return changedRoom(&Call{
		Name: "handle_seat", Topic: abi.TextAt(topic, topicLen), Seat: abi.TextAt(seat, seatLen), Change: changes[change],
		Room: bytes(hasRoom, room, roomLen),
	})
}

//go:wasmexport bennu:channel/handle-message@0.1.0#handle-message
func handleMessage(topic unsafe.Pointer, topicLen uint32, event unsafe.Pointer, eventLen uint32, kind uint32, content unsafe.Pointer, contentLen uint32, hasRoom uint32, room unsafe.Pointer, roomLen uint32) unsafe.Pointer {
	call := Call{
		Name: "handle_message", Topic: abi.TextAt(topic, topicLen), Event: abi.TextAt(event, eventLen),
		Payload: payload(kind, content, contentLen), Room: bytes(hasRoom, room, roomLen),
	}
	begin()
	result, err := Run(&call)
	if err != nil {
		return fail(err)
	}
	output.PutOption(4, result.Room)
	if result.Reply != nil {
		output.PutU8(16, 1)
		putReply(20, result.Reply)
	}
	return abi.End(output)
}

// decisions are the numbers of what happens to an intercepted event.
var decisions = map[string]uint8{"pass": 0, "drop": 1, "replace": 2, "hand_over": 3}

//go:wasmexport bennu:channel/handle-out@0.1.0#handle-out
func handleOut(topic unsafe.Pointer, topicLen uint32, event unsafe.Pointer, eventLen uint32, kind uint32, content unsafe.Pointer, contentLen uint32, recipients unsafe.Pointer, count uint32) unsafe.Pointer {
	call := Call{
		Name: "handle_out", Topic: abi.TextAt(topic, topicLen), Event: abi.TextAt(event, eventLen), Payload: payload(kind, content, contentLen),
	}
	begin()
	list := abi.NewArea(16 * int(count))
	for n := range int(count) {
		recipient := abi.At(unsafe.Add(recipients, 16*n))
		call.Member, call.Assigns = recipient.U64(0), []byte(recipient.Text(8))
		result, err := Run(&call)
		if err != nil {
			return fail(err)
		}
		list.PutU8(16*n, decisions[result.Decision])
		list.PutPayload(16*n+4, result.Instead)
	}
	output.PutList(4, list, int(count))
	return abi.End(output)
}

// upgraded writes the result of an upgrade. Without a new state, the old one stays.
func upgraded(call *Call) unsafe.Pointer {
	begin()
	result, err := Run(call)
	if err != nil {
		return fail(err)
	}
	state := result.State
	if state == nil {
		state = call.State
	}
	output.PutText(4, abi.Shared(state))
	return abi.End(output)
}

// parts are the names of the kinds of states, in the order of their numbers.
var parts = [...]string{"assigns", "room"}

//go:wasmexport bennu:channel/upgrade@0.1.0#upgrade
func upgrade(topic unsafe.Pointer, topicLen uint32, part, version uint32, state unsafe.Pointer, stateLen uint32) unsafe.Pointer {
	return upgraded(&Call{
		Name: "upgrade", Topic: abi.TextAt(topic, topicLen), Part: parts[part], Version: version, State: bytes(1, state, stateLen),
	})
}

//go:wasmexport bennu:channel/upgrade-entry@0.1.0#upgrade-entry
func upgradeEntry(topic unsafe.Pointer, topicLen uint32, key unsafe.Pointer, keyLen uint32, version uint32, value unsafe.Pointer, valueLen uint32) unsafe.Pointer {
	return upgraded(&Call{
		Name: "upgrade_entry", Topic: abi.TextAt(topic, topicLen), Key: abi.TextAt(key, keyLen), Version: version,
		State: bytes(1, value, valueLen),
	})
}
