package bennu

import (
	"fmt"
	"math"
	"time"

	"bennu.dev/bennu/internal/abi"
	"bennu.dev/bennu/internal/plugin"
	"bennu.dev/bennu/topics"
)

// Topic is a topic, and the effects that need no member.
type Topic[R any] struct {
	name string
	room state[R]
}

// TopicName is the topic's name, such as `room:lobby`.
func (t *Topic[R]) TopicName() string { return t.name }

// Room is the state that all members of the topic share. What the callback changes in it is kept.
func (t *Topic[R]) Room() *R { return t.room.value() }

// ClearRoom deletes the room, also a stored one. The next callback gets a new one.
func (t *Topic[R]) ClearRoom() { t.room.clear() }

// Broadcast sends an event to all members of the topic. A payload is a JSON object or bytes; nil is an object without fields.
func (t *Topic[R]) Broadcast(event string, payload any) {
	kind, data := packObject(event, payload)
	abi.Broadcast(event, kind, data)
}

// BroadcastDroppable sends an event of which a slow client needs only the latest with the same key, such as the position of a cursor. A
// client is never closed because of such events, and may miss some.
func (t *Topic[R]) BroadcastDroppable(key, event string, payload any) {
	kind, data := packObject(event, payload)
	abi.BroadcastDroppable(plugin.CheckName("a key", key), event, kind, data)
}

// Publish sends an event to all members of another topic. It must be a topic of this plugin, or be granted by `plugins.NAME.publish`;
// otherwise this is a fault. In a cluster, it goes to the members at all nodes, after the callback's writes are stored. If this node is
// declared dead between the two, the event is lost, although the writes are there.
func (t *Topic[R]) Publish(topic, event string, payload any) {
	kind, data := packObject(event, payload)
	abi.Publish(plugin.CheckName("a topic", topic), event, kind, data)
}

// PublishDroppable is like Publish, for an event of which a slow client needs only the latest with the same key.
func (t *Topic[R]) PublishDroppable(topic, key, event string, payload any) {
	kind, data := packObject(event, payload)
	abi.PublishDroppable(plugin.CheckName("a topic", topic), plugin.CheckName("a key", key), event, kind, data)
}

// Send sends a message to another topic, for its HandleMessage. If that answers, this member's HandleInfo gets the answer. The same
// topics as for Publish are allowed. The topic doesn't need to have members.
func (t *Topic[R]) Send(topic, event string, payload any) {
	kind, data := pack(payload)
	abi.Send(plugin.CheckName("a topic", topic), plugin.CheckName("an event", event), kind, data)
}

// SendMember calls the HandleInfo of a member of any topic. The member is its number: [Socket.ID], or one of topics.Members. The same
// topics as for Publish are allowed. If the member has ended, nothing happens.
func (t *Topic[R]) SendMember(topic string, member uint64, event string, payload any) {
	kind, data := pack(payload)
	abi.SendMember(plugin.CheckName("a topic", topic), member, plugin.CheckName("an event", event), kind, data)
}

// PushToSocket sends an event to the client of each member of a topic whose socket has this id, for example to all tabs of a user. The
// same topics as for Publish are allowed.
func (t *Topic[R]) PushToSocket(topic, socketID, event string, payload any) {
	kind, data := packObject(event, payload)
	abi.PushToSocket(plugin.CheckName("a topic", topic), plugin.CheckName("a socket id", socketID), event, kind, data)
}

// Disconnect closes every socket with this id. The member's own id is always allowed; other ids need a grant, as for Publish.
func (t *Topic[R]) Disconnect(socketID string) { abi.Disconnect(plugin.CheckName("a socket id", socketID)) }

// Discard discards all effects that the callback has asked for so far, and its writes to the store and to entries. After that, an effect
// or a write is a fault. The changes of the state and the room, and the answer, still count. A Refusal discards all of them.
func (t *Topic[R]) Discard() { abi.Discard() }

// AnswerRef is, in HandleMessage, a reference to this message for a later Answer. Return nil, and the sender waits on. It is empty if
// nobody waits.
func (t *Topic[R]) AnswerRef() string { return abi.AnswerRef() }

// Answer answers an earlier message to a topic, whose AnswerRef was kept. A response is a JSON value, bytes, or a Reply. If nobody waits
// any more, nothing happens.
func (t *Topic[R]) Answer(ref string, response any) {
	status, kind, data := reply(response)
	abi.AnswerTo(ref, status, kind, data)
}

// PublishState shows a state of the topic to all members, a JSON object. They get it whole at first (`room_state`), and then only the
// changes (`room_diff`). A field that is null counts as absent. It needs a room.
func (t *Topic[R]) PublishState(state any) { abi.PublishState(objectText("a published state", state)) }

// Tick calls HandleTick at this period, which has at least 10 ms. 0 ends the ticks. It needs a room.
func (t *Topic[R]) Tick(period time.Duration) {
	abi.Tick(uint32(milliseconds("a period", period, math.MaxUint32)))
}

// Presences are the presences of this topic, without the effects of the running callback.
func (t *Topic[R]) Presences() topics.Presences { return topics.PresencesOf(t.name) }

// MemberCount is the number of this topic's members. See [topics.Count] for what that is in a cluster.
func (t *Topic[R]) MemberCount() int { return topics.Count(t.name) }

// milliseconds checks a duration that is an argument of an effect.
func milliseconds(what string, duration time.Duration, most int64) int64 {
	if ms := duration.Milliseconds(); ms >= 0 && ms <= most {
		return ms
	}
	panic(fmt.Sprintf("%s is from 0 to %d ms, and not %s", what, most, duration))
}

// reply is the status and the payload of an answer: those of a Reply, or `ok`.
func reply(response any) (status string, kind uint32, data string) {
	status = "ok"
	if is, ok := response.(Reply); ok {
		status, response = plugin.CheckName("a status", is.Status), is.Response
	}
	if response == nil {
		return status, abi.JSON, "{}"
	}
	kind, data = pack(response)
	return status, kind, data
}
