package bennu

import (
	"encoding/json"
	"time"

	"bennu.dev/bennu/internal/abi"
	"bennu.dev/bennu/internal/plugin"
)

// Socket is a member of a topic: one client's membership, and the effects that it can ask for.
type Socket[R any] struct {
	Topic[R]
	id   uint64
	ref  string
	stop *string
}

// day is the longest grace period of a seat.
const day = 24 * time.Hour

// ID is the member's number. No other member has it while the host runs, and in a cluster no other member of any node.
func (s *Socket[R]) ID() uint64 { return s.id }

// Ref is the ref of the client's message, for a later Reply. It can be kept in the state. Only a message with a ref has one.
func (s *Socket[R]) Ref() string { return s.ref }

// Stop ends the member after the callback. Its client gets the answer of the callback first, and then `phx_close`. It doesn't get the
// reason, which is for Terminate and the log.
func (s *Socket[R]) Stop(reason string) { s.stop = &reason }

// Push sends an event to this member's client.
func (s *Socket[R]) Push(event string, payload any) {
	kind, data := packObject(event, payload)
	abi.Push(event, kind, data)
}

// BroadcastFrom sends an event to all members of the topic except this one.
func (s *Socket[R]) BroadcastFrom(event string, payload any) {
	kind, data := packObject(event, payload)
	abi.BroadcastFrom(event, kind, data)
}

// BroadcastFromDroppable is like BroadcastDroppable, without this member.
func (s *Socket[R]) BroadcastFromDroppable(key, event string, payload any) {
	kind, data := packObject(event, payload)
	abi.BroadcastFromDroppable(plugin.CheckName("a key", key), event, kind, data)
}

// SendSelf calls this member's HandleInfo after the messages that wait in its queue.
func (s *Socket[R]) SendSelf(event string, payload any) {
	kind, data := pack(payload)
	abi.SendSelf(plugin.CheckName("an event", event), kind, data)
}

// SendAfter calls this member's HandleInfo after a time of at least 10 ms. It returns the number of the timer. A member has at most 16
// timers, which end with it.
func (s *Socket[R]) SendAfter(after time.Duration, event string, payload any) (timer uint64) {
	kind, data := pack(payload)
	ms := milliseconds("a time", after, 1<<53-1)
	return abi.SendAfter(uint64(ms), plugin.CheckName("an event", event), kind, data)
}

// Cancel cancels a timer. If it has fired, nothing happens.
func (s *Socket[R]) Cancel(timer uint64) { abi.Cancel(timer) }

// Subscribe gives this member's HandleInfo the broadcasts of another topic. It must be a topic of this plugin, or be granted by
// `plugins.NAME.read`. A member subscribes to at most 64 topics.
func (s *Socket[R]) Subscribe(topic string) { abi.Subscribe(plugin.CheckName("a topic", topic)) }

// Unsubscribe ends a subscription.
func (s *Socket[R]) Unsubscribe(topic string) { abi.Unsubscribe(plugin.CheckName("a topic", topic)) }

// Reply answers an earlier message of this member, whose Ref was kept. A response is a JSON value, bytes, or a Reply with a status of its
// own. A message may be answered more than once.
func (s *Socket[R]) Reply(ref string, response any) {
	status, kind, data := reply(response)
	abi.Reply(ref, status, kind, data)
}

// TakeSeat puts this member on a seat of the topic, such as a user's name. A member has one seat. If its connection drops, the host keeps
// the seat for a grace period of at most a day. HandleSeat is told each change. It needs a room.
func (s *Socket[R]) TakeSeat(seat string, grace time.Duration) {
	abi.TakeSeat(plugin.CheckName("a seat", seat), uint32(milliseconds("a grace period", grace, day.Milliseconds())))
}

// LeaveSeat gives up this member's seat.
func (s *Socket[R]) LeaveSeat() { abi.LeaveSeat() }

// Track tracks this member's presence under a key, with a meta, a JSON object of at most 4 KiB. A member has at most 16 presences, each
// under another key. They end with the member.
func (s *Socket[R]) Track(key string, meta any) {
	abi.Track(plugin.CheckName("a key", key), objectText("a meta", meta))
}

// UpdatePresence replaces the meta of this member under a key. If it isn't tracked under that key, this is a fault.
func (s *Socket[R]) UpdatePresence(key string, meta any) {
	abi.UpdatePresence(plugin.CheckName("a key", key), objectText("a meta", meta))
}

// Untrack ends this member's presence under a key.
func (s *Socket[R]) Untrack(key string) { abi.Untrack(plugin.CheckName("a key", key)) }

// PushPresences sends all presences of the topic to this member's client, as `presence_state`.
func (s *Socket[R]) PushPresences() { abi.PushPresences() }

// User is the user that a token or a gatekeeper gave when the socket connected. It is empty if there is none.
func (s *Socket[R]) User() string { return abi.User() }

// SocketID is the id of the socket. It is empty if there is none.
func (s *Socket[R]) SocketID() string { return abi.SocketID() }

// Claims reads the claims that a token or a gatekeeper gave when the socket connected, as json.Unmarshal does.
func (s *Socket[R]) Claims(into any) error { return json.Unmarshal([]byte(abi.Claims()), into) }

// ConnectParams reads the parameters of the connection request, as json.Unmarshal does.
func (s *Socket[R]) ConnectParams(into any) error {
	return json.Unmarshal([]byte(abi.ConnectParams()), into)
}

// JoinRef is the ref of the client's join, as JSON: for example `"1"` with its quotes, or `null`.
func (s *Socket[R]) JoinRef() string { return abi.JoinRef() }

// Transport is `websocket` or `longpoll`.
func (s *Socket[R]) Transport() string { return abi.Transport() }

// XHeaders are the request headers that start with `x-`, in the order sent. The names are in lower case.
func (s *Socket[R]) XHeaders() [][2]string {
	var headers [][2]string
	for _, header := range abi.XHeaders() {
		headers = append(headers, [2]string{header.Name, header.Value})
	}
	return headers
}
