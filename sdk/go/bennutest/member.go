//go:build !wasip1

package bennutest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"bennu.dev/bennu/internal/abi"
	"bennu.dev/bennu/internal/kit"
)

// Member is a member of a topic, with what its client has received. An assertion finds a message in any order, removes it, and returns
// its payload. An expected object matches an object with these fields and any others; nil matches any value.
type Member struct {
	stage     *Stage
	client    uint64
	topic     string
	joinRef   string
	last      string
	inbox     []kit.Frame
	roomState any
	closed    int
	// Response is the response to its join.
	Response any
}

func (m *Member) join(params any) (*Member, error) {
	m.stage.kit.T.Helper()
	m.push("phx_join", params, "")
	m.joinRef = m.last
	for _, status := range []string{"ok", "error"} {
		found, is := m.take(isReply(m.last, status, nil))
		if m.Response = found; is && status == "ok" {
			return m, nil
		}
	}
	return nil, &NotJoined{m.Response}
}

func (m *Member) push(event string, payload any, joinRef string) {
	t := m.stage.kit.T
	t.Helper()
	fields := payloadFields(t, abi.Fields{"client": m.client, "topic": m.topic, "event": event}, payload)
	if joinRef != "" {
		fields["join_ref"] = joinRef
	}
	m.stage.kit.Must("push", fields, &m.last)
}

// Push sends an event of its client. It returns the ref of the message. A payload is a JSON value or bytes; nil is an object without
// fields.
func (m *Member) Push(event string, payload any) (ref string) {
	m.stage.kit.T.Helper()
	m.push(event, payload, m.joinRef)
	return m.last
}

// Leave makes its client leave the topic.
func (m *Member) Leave() { m.Push("phx_leave", nil) }

// Close ends its connection.
func (m *Member) Close() { m.stage.kit.Must("close", abi.Fields{"client": m.client}, nil) }

// AssertReply asserts a reply to the last message. It returns the response.
func (m *Member) AssertReply(status string, want any) any {
	m.stage.kit.T.Helper()
	return m.assert(isReply(m.last, status, want), "a reply `"+status+"`", want)
}

// AssertReplyTo asserts a reply to the message with this ref. It returns the response.
func (m *Member) AssertReplyTo(ref, status string, want any) any {
	m.stage.kit.T.Helper()
	return m.assert(isReply(ref, status, want), "a reply `"+status+"`", want)
}

// AssertPush asserts an event that was sent to this client alone. It returns the payload.
func (m *Member) AssertPush(event string, want any) any {
	m.stage.kit.T.Helper()
	is := func(frame kit.Frame) (any, bool) {
		return frame[4], frame[0] == m.joinRef && frame[3] == event && Matches(want, frame[4])
	}
	return m.assert(is, "a push of `"+event+"`", want)
}

// AssertBroadcast asserts an event that was sent to the topic. It returns the payload.
func (m *Member) AssertBroadcast(event string, want any) any {
	m.stage.kit.T.Helper()
	is := func(frame kit.Frame) (any, bool) {
		return frame[4], frame[0] == nil && frame[3] == event && Matches(want, frame[4])
	}
	return m.assert(is, "a broadcast of `"+event+"`", want)
}

// Refute asserts that no message of this event was received.
func (m *Member) Refute(event string) {
	m.stage.kit.T.Helper()
	m.receive()
	for _, frame := range m.inbox {
		if frame[3] == event {
			m.stage.kit.T.Fatalf("received %s", shown(frame))
		}
	}
}

// AssertDisconnected asserts that its connection was closed, with this code.
func (m *Member) AssertDisconnected(code int) {
	m.stage.kit.T.Helper()
	if m.receive(); m.closed != code {
		m.stage.kit.T.Fatalf("expected the end of the connection with %d, and not with %d", code, m.closed)
	}
}

// RoomState is the topic's published state as its client has it. It is nil before the first one.
func (m *Member) RoomState() any {
	m.receive()
	return m.roomState
}

// isReply finds a reply to a message. It returns the response.
func isReply(ref, status string, want any) func(kit.Frame) (any, bool) {
	return func(frame kit.Frame) (any, bool) {
		if frame[3] != "phx_reply" || frame[1] != ref {
			return nil, false
		}
		fields, _ := frame[4].(map[string]any)
		return fields["response"], fields["status"] == status && Matches(want, fields["response"])
	}
}

func (m *Member) assert(is func(kit.Frame) (any, bool), what string, want any) any {
	m.stage.kit.T.Helper()
	found, ok := m.take(is)
	if ok {
		return found
	}
	var text strings.Builder
	for _, frame := range m.inbox {
		fmt.Fprintf(&text, "\n  received %s", shown(frame))
	}
	for _, fault := range m.stage.Faults() {
		fmt.Fprintf(&text, "\n  fault: %s", fault.Error())
	}
	m.stage.kit.T.Fatalf("expected %s with %s%s", what, shown(want), text.String())
	return nil
}

// take removes the first message that is the wanted one, and returns a part of it.
func (m *Member) take(is func(kit.Frame) (any, bool)) (any, bool) {
	m.receive()
	for at, frame := range m.inbox {
		if found, ok := is(frame); ok {
			m.inbox = append(m.inbox[:at:at], m.inbox[at+1:]...)
			return found, true
		}
	}
	return nil, false
}

func (m *Member) receive() {
	for next := m.stage.kit.Next(m.client); next != nil; next = m.stage.kit.Next(m.client) {
		if next.Closed != 0 {
			m.closed = next.Closed
		} else {
			m.note(next.Frame)
		}
	}
}

func (m *Member) note(frame kit.Frame) {
	fields, _ := frame[4].(map[string]any)
	switch frame[3] {
	case "room_state":
		m.roomState = merged(nil, fields["state"])
	case "room_diff":
		m.roomState = merged(m.roomState, fields["patch"])
	}
	m.inbox = append(m.inbox, frame)
}

// Matches is whether a value is the wanted one. An object may have further fields. nil matches any value.
func Matches(want, value any) bool {
	if want == nil {
		return true
	}
	if bytes, is := want.([]byte); is {
		return reflect.DeepEqual(bytes, value)
	}
	text, err := json.Marshal(want)
	if err != nil {
		return false
	}
	var plain any
	return json.Unmarshal(text, &plain) == nil && contains(plain, value)
}

func contains(want, value any) bool {
	fields, isObject := want.(map[string]any)
	if !isObject {
		return reflect.DeepEqual(want, value)
	}
	given, isObject := value.(map[string]any)
	for name, want := range fields {
		if one, is := given[name]; !is || !contains(want, one) {
			return false
		}
	}
	return isObject
}

// merged applies a merge patch (RFC 7396).
func merged(state, patch any) any {
	fields, isObject := patch.(map[string]any)
	if !isObject {
		return patch
	}
	result := map[string]any{}
	if old, is := state.(map[string]any); is {
		for name, value := range old {
			result[name] = value
		}
	}
	for name, value := range fields {
		if value == nil {
			delete(result, name)
		} else {
			result[name] = merged(result[name], value)
		}
	}
	return result
}

func shown(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(text)
}
