"""Topics and members, and the effects that a callback can ask for."""

from datetime import timedelta
from typing import Annotated, Any, Generic, TypeVar

from . import _contract
from ._channel import Message
from ._contract import droppable, presence
from ._contract import member as host_member
from ._contract import socket as effects
from ._contract import topics as host_topics
from ._payload import DAY_MS, NAMED, count, duration, name, object_text, pack, pack_any, pack_object, parse, text
from ._state import CallState

R = TypeVar("R")

#: The longest period of a tick, in milliseconds.
_U32_MAX = 2**32 - 1


class WholePayload:
    """Marks the annotation of a parameter that gets the whole payload."""


#: The annotation of a parameter that gets the whole payload: any JSON value, or `bytes`.
Payload = Annotated[Any, WholePayload]


def _reply(status: str, response: Any) -> Any:
    return _contract.types.Reply(name("a status", status), pack({} if response is NAMED else response))


class Topic(Generic[R]):
    """A topic, and the effects that need no member.

    The payload of an event is an object, given as named arguments, as a dictionary or as a dataclass, or bytes. A message to a callback
    (`send`, `send_member`) can have any JSON value.
    """

    __slots__ = ("_room", "message", "topic")

    def __init__(self, topic: str, room: CallState | None, message: Message) -> None:
        #: The topic's name.
        self.topic = topic
        #: What the callback is about.
        self.message = message
        self._room = room

    @property
    def room(self) -> R:
        """The state that all members of the topic share. Change it in place, or assign another one."""
        return self._own_room().get()

    @room.setter
    def room(self, value: R) -> None:
        self._own_room().set(value)

    def clear_room(self) -> None:
        """Deletes the state that all members share, also a stored one. The next callback gets the first one again."""
        self._own_room().clear()

    def _own_room(self) -> CallState:
        if self._room is None:
            raise TypeError(f"the channel of {self.topic} has no room; give it one with `@channel(.., room=..)`")
        return self._room

    def broadcast(self, event: str, payload: Any = NAMED, /, **fields: Any) -> None:
        """Sends an event to all members of the topic."""
        effects.broadcast(event, pack_object(event, payload, fields))

    def broadcast_droppable(self, key: str, event: str, payload: Any = NAMED, /, **fields: Any) -> None:
        """Sends an event of which a slow client needs only the latest with the same key, such as the position of a cursor.

        A client is never closed because of such events, and may miss some.
        """
        droppable.broadcast_droppable(name("a key", key), event, pack_object(event, payload, fields))

    def publish(self, topic: str, event: str, payload: Any = NAMED, /, **fields: Any) -> None:
        """Sends an event to all members of another topic. It must be a topic of this plugin, or be granted by `plugins.NAME.publish`;
        otherwise this is a fault.

        In a cluster, it goes to the members at all nodes, after the callback's writes are stored. If this node is declared dead between the
        two, the event is lost, although the writes are there.
        """
        effects.publish(name("a topic", topic), event, pack_object(event, payload, fields))

    def publish_droppable(self, topic: str, key: str, event: str, payload: Any = NAMED, /, **fields: Any) -> None:
        """Like `publish`, for an event of which a slow client needs only the latest with the same key."""
        droppable.publish_droppable(name("a topic", topic), name("a key", key), event, pack_object(event, payload, fields))

    def send(self, topic: str, event: str, payload: Any = NAMED, /, **fields: Any) -> None:
        """Sends a message to another topic, for its `message`. If that answers, this member's `info` gets the answer.

        The same topics as for `publish` are allowed. The topic doesn't need to have members.
        """
        effects.send(name("a topic", topic), event, pack_any(event, payload, fields))

    def send_member(self, topic: str, member: int, event: str, payload: Any = NAMED, /, **fields: Any) -> None:
        """Calls the `info` of a member of any topic, with the source `member`. `member` is its number: `socket.id`, or one of
        `topics.members`. The same topics as for `publish` are allowed. If the member has ended, nothing happens."""
        effects.send_member(name("a topic", topic), count("a member", member), event, pack_any(event, payload, fields))

    def push_to_socket(self, topic: str, socket_id: str, event: str, payload: Any = NAMED, /, **fields: Any) -> None:
        """Sends an event to the client of each member of a topic whose socket has this id, for example to all tabs of a user. The same
        topics as for `publish` are allowed."""
        effects.push_to_socket(name("a topic", topic), name("a socket id", socket_id), event, pack_object(event, payload, fields))

    def discard(self) -> None:
        """Discards all effects that the callback has asked for so far, and its writes to the store and to entries.

        After that, an effect or a write is a fault. The changes of the state and the room, and the answer, still count. `refuse`
        discards all of them.
        """
        effects.discard()

    @property
    def answer_ref(self) -> str | None:
        """In `message`: a reference to this message, for a later `answer`. Return nothing, and the sender waits on: a member for an
        hour at most, a caller of the HTTP API for as long as it says. None if nobody waits."""
        return host_topics.answer_ref()

    def answer(self, ref: str, response: Any = NAMED, status: str = "ok") -> None:
        """Answers an earlier message to a topic, whose `answer_ref` was kept. If nobody waits any more, nothing happens."""
        effects.answer(text("a ref", ref), _reply(status, response))

    def disconnect(self, socket_id: str) -> None:
        """Closes every socket with this id. The member's own id is always allowed; other ids need a grant, as for `publish`."""
        effects.disconnect(name("a socket id", socket_id))

    def publish_state(self, state: Any) -> None:
        """Shows a state of the topic to all members: a dictionary or a dataclass.

        They get it whole at first (`room_state`), and then only changes (`room_diff`). A field that is null counts as absent. It needs
        a channel with a `room`.
        """
        effects.publish_state(object_text("a published state", state, {}))

    def tick(self, period: int | timedelta) -> None:
        """Calls `tick` at this period, in milliseconds, at least 10. 0 ends the ticks. It needs a channel with a `room`."""
        effects.tick(duration("a period", period, _U32_MAX))

    @property
    def presences(self) -> dict[str, Any]:
        """The presences of this topic, by key, without the effects of the running callback: `{KEY: {"metas": [..]}}`."""
        return parse(presence.list(self.topic))

    @property
    def member_count(self) -> int:
        """The number of this topic's members. See `topics.count` for what that is in a cluster."""
        return host_topics.count(self.topic)


class Socket(Topic[R]):
    """A member of a topic: one client's membership."""

    __slots__ = ("id", "ref")

    def __init__(self, id: int, topic: str, room: CallState | None, message: Message, ref: str | None = None) -> None:
        super().__init__(topic, room, message)
        #: The member's number. No other member has it while the host runs, and in a cluster no other member of any node.
        self.id = id
        #: The ref of the client's message, for a later `reply`. It can be kept in the state. Only a message with a ref has one.
        self.ref = ref

    def push(self, event: str, payload: Any = NAMED, /, **fields: Any) -> None:
        """Sends an event to this member's client."""
        effects.push(event, pack_object(event, payload, fields))

    def broadcast_from(self, event: str, payload: Any = NAMED, /, **fields: Any) -> None:
        """Sends an event to all members of the topic except this one."""
        effects.broadcast_from(event, pack_object(event, payload, fields))

    def broadcast_from_droppable(self, key: str, event: str, payload: Any = NAMED, /, **fields: Any) -> None:
        """Like `broadcast_droppable`, without this member."""
        droppable.broadcast_from_droppable(name("a key", key), event, pack_object(event, payload, fields))

    def send_self(self, event: str, payload: Any = NAMED, /, **fields: Any) -> None:
        """Calls this member's `info` after the messages that wait in its queue."""
        effects.send_self(event, pack_any(event, payload, fields))

    def send_after(self, delay: int | timedelta, event: str, payload: Any = NAMED, /, **fields: Any) -> int:
        """Calls this member's `info` after a time, in milliseconds, at least 10. Returns the timer's number.

        A member has at most 16 timers, which end with it.
        """
        return effects.send_after(duration("a time", delay), event, pack_any(event, payload, fields))

    def cancel(self, timer: int) -> None:
        """Cancels a timer. If it has fired, nothing happens."""
        effects.cancel(count("a timer", timer))

    def subscribe(self, topic: str) -> None:
        """Gives this member's `info` the broadcasts of another topic, with the source `topic`.

        It must be a topic of this plugin, or be granted by `plugins.NAME.read`. A member subscribes to at most 64 topics.
        """
        effects.subscribe(name("a topic", topic))

    def unsubscribe(self, topic: str) -> None:
        """Ends a subscription."""
        effects.unsubscribe(name("a topic", topic))

    def reply(self, ref: str, response: Any = NAMED, status: str = "ok") -> None:
        """Answers an earlier message of this member, whose `socket.ref` was kept. A message may be answered more than once."""
        effects.reply(text("a ref", ref), _reply(status, response))

    def take_seat(self, seat: str, grace: int | timedelta) -> None:
        """Puts this member on a seat of the topic, such as a user's name. A member has one seat.

        If its connection drops, the host keeps the seat for a grace period in milliseconds, at most a day. `seat` is told each change.
        It needs a channel with a `room`.
        """
        effects.take_seat(name("a seat", seat), duration("a grace period", grace, DAY_MS))

    def leave_seat(self) -> None:
        """Gives up this member's seat."""
        effects.leave_seat()

    def track(self, key: str, meta: Any = NAMED, /, **fields: Any) -> None:
        """Tracks this member's presence under a key, with a meta of at most 4 KiB.

        A member has at most 16 presences, each under another key. They end with the member.
        """
        presence.track(name("a key", key), object_text("a meta", {} if meta is NAMED else meta, fields))

    def update_presence(self, key: str, meta: Any = NAMED, /, **fields: Any) -> None:
        """Replaces the meta of this member under a key. If it isn't tracked under that key, this is a fault."""
        presence.update(name("a key", key), object_text("a meta", {} if meta is NAMED else meta, fields))

    def untrack(self, key: str) -> None:
        """Ends this member's presence under a key."""
        presence.untrack(name("a key", key))

    def push_presences(self) -> None:
        """Sends all presences of the topic to this member's client, as `presence_state`."""
        presence.push_state()

    @property
    def user(self) -> str | None:
        """The user that a token or a gatekeeper gave when the socket connected."""
        return host_member.user()

    @property
    def socket_id(self) -> str | None:
        """The id of the socket."""
        return host_member.socket_id()

    @property
    def claims(self) -> dict[str, Any]:
        """The claims that a token or a gatekeeper gave when the socket connected."""
        return parse(host_member.claims())

    @property
    def connect_params(self) -> dict[str, Any]:
        """The parameters of the connection request."""
        return parse(host_member.connect_params())

    @property
    def join_ref(self) -> str:
        """The ref of the client's join, as JSON: for example `"1"` with its quotes, or `null`."""
        return host_member.join_ref()

    @property
    def transport(self) -> str:
        """`websocket` or `longpoll`."""
        return host_member.transport()

    @property
    def x_headers(self) -> list[tuple[str, str]]:
        """The request headers that start with `x-`, with names in lower case."""
        return host_member.x_headers()
