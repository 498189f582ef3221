"""The contract's callbacks, made of a plugin's channels."""

import json
from collections.abc import Callable
from typing import Any


from ._channel import ALL, TABLES, Message, Recipient, Refusal, Reply, Route, Stop, Tick, drop, hand_over
from ._contract import host, schedule, types
from ._contract import socket as effects
from ._faults import problem_text
from ._gatekeeper import ConnectRequest, Connect, Forbidden, Identity
from ._parameters import Handler
from ._payload import name, object_text, pack, pack_object, parse, to_json, unpack
from ._state import CallState, encoded
from ._token import TokenProblem
from ._topic import Socket, Topic

#: The optional exports of the contract, and what a channel needs them for.
OFFERS: dict[str, Callable[[Route], Any]] = {
    "handle-out": lambda is_: is_.tables["intercept"],
    "handle-message": lambda is_: is_.tables["message"],
    "handle-topic-info": lambda is_: is_.tables["topic_info"],
    "handle-tick": lambda is_: hasattr(is_.cls, "tick"),
    "handle-seat": lambda is_: hasattr(is_.cls, "seat"),
    "upgrade": lambda is_: hasattr(is_.cls, "upgrade") or hasattr(is_.cls, "upgrade_room"),
    "upgrade-entry": lambda is_: hasattr(is_.cls, "upgrade_entry"),
}

#: The parameters before those of the payload, of methods that handle events.
_MEMBER, _TOPIC = ("self", "socket"), ("topic",)
_FIRST = {"on": _MEMBER, "info": _MEMBER, "message": _TOPIC, "topic_info": _TOPIC, "intercept": ("self", "recipient")}


def guarded(callback: Callable[..., Any]) -> Callable[..., Any]:
    """The callback, whose exceptions are the contract's errors. So a fault has the exception and its places."""

    def run(*given: Any) -> Any:
        try:
            return callback(*given)
        except BaseException as problem:
            raise types.Err(problem_text(problem)) from None

    return run


class _Channel:
    """A channel with its handlers."""

    def __init__(self, is_: Route) -> None:
        self.is_, self.cls, self.room = is_, is_.cls, is_.room
        self.tables = {
            table: {event: Handler(getattr(self.cls, method), *_FIRST[table]) for event, method in is_.tables[table].items()}
            for table in TABLES
        }
        self.join = Handler(self.cls.join, *_MEMBER) if hasattr(self.cls, "join") else None
        self.leave = Handler(self.cls.leave, *_MEMBER) if hasattr(self.cls, "leave") else None

    def handler(self, table: str, event: str) -> Handler | None:
        handlers = self.tables[table]
        return handlers.get(event) or handlers.get(ALL)

    def room_state(self, room: bytes | None) -> CallState | None:
        return None if self.room is None else CallState(self.room, room)


class _Call:
    """One call, and what it leaves behind."""

    __slots__ = ("given", "is_refused", "room", "state")

    def __init__(self, state: CallState | None, room: CallState | None) -> None:
        self.state, self.room, self.is_refused, self.given = state, room, False, None

    def run(self, function: Callable[..., Any], *given: Any, bind: Any = None, payload: Any = None) -> "_Call":
        """Runs a function of the plugin. If it refuses, nothing of the call happens."""
        try:
            self.given = function(*given) if bind is None else function(*given, **bind(payload))
        except Refusal as refusal:
            effects.discard()
            self.is_refused, self.given = True, refusal.response
        return self

    def must_not_refuse(self, what: str) -> "_Call":
        if self.is_refused:
            raise TypeError(f"`{what}` can't refuse ({to_json(self.given)}): no client waits for its answer")
        return self

    def new_room(self) -> bytes | None:
        return None if self.room is None or self.is_refused else self.room.changed()


class Callbacks:
    """The callbacks of a plugin with channels."""

    def __init__(self, classes: list[Any]) -> None:
        self._routes: dict[str, _Channel] = {}
        for cls in classes:
            channel = _Channel(cls._bennu_route)
            for pattern in channel.is_.patterns:
                if pattern in self._routes:
                    raise TypeError(f"{self._routes[pattern].cls.__name__} and {cls.__name__} are both the channel of {pattern}")
                self._routes[pattern] = channel
        prefixes = sorted((pattern for pattern in self._routes if pattern.endswith("*")), key=len, reverse=True)
        self._prefixes = [(pattern[:-1], self._routes[pattern]) for pattern in prefixes]
        self._last: tuple[str, _Channel] | None = None

    def offers(self) -> list[str]:
        """The optional exports of the contract that the plugin has."""
        channels = self._routes.values()
        return [offer for offer, needs in OFFERS.items() if any(needs(channel.is_) for channel in channels)]

    def _channel_of(self, topic: str) -> _Channel:
        # Many calls in a row are about one topic.
        last = self._last
        if last is not None and last[0] == topic:
            return last[1]
        found = self._routes.get(topic) or next(channel for prefix, channel in self._prefixes if topic.startswith(prefix))
        self._last = (topic, found)
        return found

    def describe(self) -> Any:
        return [
            types.Route(
                pattern,
                list(channel.tables["intercept"]),
                channel.is_.version,
                channel.is_.room_version,
                [types.Setting(*option) for option in channel.is_.options],
            )
            for pattern, channel in self._routes.items()
        ]

    def join(self, member: int, topic: str, params: Any, room: bytes | None) -> Any:
        channel = self._channel_of(topic)
        state, shared = channel.cls(), channel.room_state(room)
        call = _Call(None, shared)
        response: Any = {}
        if channel.join is not None:
            socket: Socket[Any] = Socket(member, topic, shared, Message("phx_join", "client", topic))
            call.run(channel.join.call, state, socket, bind=channel.join.bind, payload=unpack(params))
            if call.is_refused:
                return types.Admission_Refused(pack(call.given))
            response = {} if call.given is None else call.given
            if isinstance(response, (Reply, Stop)):
                raise TypeError("`join` returns the response of an `ok` reply, or calls `refuse`")
        return types.Admission_Admitted(types.Admitted(encoded(state), call.new_room(), pack(response)))

    def handle_in(self, member: Any, event: str, payload: Any, ref: str | None) -> Any:
        channel = self._channel_of(member.topic)
        handler = channel.handler("on", event)
        if handler is None:
            refused = {"reason": f"unknown event {json.dumps(event)}"}
            return types.Outcome(None, None, types.Answer_Reply(types.Reply("error", pack(refused))))
        return self._outcome(self._of_member(channel, handler, member, Message(event, "client", member.topic), payload, ref), True)

    def handle_info(self, member: Any, message: Any) -> Any:
        channel = self._channel_of(member.topic)
        handler = channel.handler("info", message.event)
        if handler is None:
            return types.Outcome(None, None, types.Answer_None_())
        about = Message(message.event, message.source, message.topic)
        call = self._of_member(channel, handler, member, about, message.payload, None)
        return self._outcome(call.must_not_refuse(message.event), False)

    def _of_member(self, channel: _Channel, handler: Handler, member: Any, message: Message, payload: Any, ref: str | None) -> _Call:
        state, room = CallState(channel.cls, member.assigns), channel.room_state(member.room)
        socket: Socket[Any] = Socket(member.id, member.topic, room, message, ref)
        return _Call(state, room).run(handler.call, state.get(), socket, bind=handler.bind, payload=unpack(payload))

    def _outcome(self, call: _Call, may_reply: bool) -> Any:
        given = call.given
        if call.is_refused:
            return types.Outcome(None, None, types.Answer_Reply(types.Reply("error", pack(given))))
        if isinstance(given, Stop):
            answer = types.Answer_Stop(types.Stop(given.reason, None if given.response is None else _reply(given.response)))
        elif given is None or not may_reply:
            answer = types.Answer_None_()
        else:
            answer = types.Answer_Reply(_reply(given))
        return types.Outcome(call.state and call.state.changed(), call.new_room(), answer)

    def terminate(self, member: Any, ending: Any) -> bytes | None:
        channel = self._channel_of(member.topic)
        if channel.leave is None:
            return None
        state, room = CallState(channel.cls, member.assigns), channel.room_state(member.room)
        socket: Socket[Any] = Socket(member.id, member.topic, room, Message("leave", "host", member.topic))
        about = {"cause": ending.cause, "detail": ending.detail}
        call = _Call(state, room).run(channel.leave.call, state.get(), socket, bind=channel.leave.bind, payload=about)
        return call.must_not_refuse("leave").new_room()

    def handle_out(self, topic: str, event: str, payload: Any, recipients: Any) -> Any:
        channel = self._channel_of(topic)
        handler = channel.handler("intercept", event)
        if handler is None:
            return [types.Decision_Pass() for _ in recipients]
        decisions = []
        for each in recipients:
            state = CallState(channel.cls, each.assigns).get()
            given = handler.call(state, Recipient(each.member, topic), **handler.bind(unpack(payload)))
            decisions.append(_decision(given, event))
        return decisions

    def _of_topic(self, topic: str, room: bytes | None, message: Message) -> tuple[_Channel, _Call, Topic]:
        channel = self._channel_of(topic)
        state = channel.room_state(room)
        return channel, _Call(None, state), Topic(topic, state, message)

    def handle_message(self, topic: str, event: str, payload: Any, room: bytes | None) -> Any:
        channel, call, about = self._of_topic(topic, room, Message(event, "message", topic))
        handler = channel.handler("message", event)
        if handler is not None:
            call.run(handler.call, about, bind=handler.bind, payload=unpack(payload))
        if isinstance(call.given, Stop):
            raise TypeError(f"`{event}` can't stop: a message to a topic has no member")
        answer = None if call.given is None else _reply(call.given, "error" if call.is_refused else "ok")
        return types.MessageOutcome(call.new_room(), answer)

    def handle_topic_info(self, topic: str, message: Any, room: bytes | None) -> bytes | None:
        is_fired = message.source in ("schedule", "cron")
        fired = (schedule.due(), schedule.key()) if is_fired else (None, None)
        channel, call, about = self._of_topic(topic, room, Message(message.event, message.source, topic, *fired))
        handler = channel.handler("topic_info", message.event)
        if handler is None:
            host.log(host.Level.WARN, f"no `topic_info` for the event `{message.event}` from `{message.source}`: it is ignored")
            return None
        call.run(handler.call, about, bind=handler.bind, payload=unpack(message.payload))
        return call.must_not_refuse(message.event).new_room()

    def handle_tick(self, topic: str, tick: Any, room: bytes | None) -> bytes | None:
        channel, call, about = self._of_topic(topic, room, Message("tick", "host", topic))
        if hasattr(channel.cls, "tick"):
            call.run(channel.cls.tick, about, Tick(tick.number, tick.missed, tick.period_ms)).must_not_refuse("tick")
        return call.new_room()

    def handle_seat(self, topic: str, seat: str, change: Any, room: bytes | None) -> bytes | None:
        channel, call, about = self._of_topic(topic, room, Message("seat", "host", topic))
        if hasattr(channel.cls, "seat"):
            call.run(channel.cls.seat, about, change.name.lower(), seat).must_not_refuse("seat")
        return call.new_room()

    def upgrade(self, topic: str, part: Any, version: int, state: bytes) -> bytes:
        upgrade = getattr(self._channel_of(topic).cls, "upgrade_room" if part.name == "ROOM" else "upgrade", None)
        if upgrade is None:
            return state
        upgraded = upgrade(parse(state.decode()) if state else {}, version, topic)
        return object_text("an upgraded state", upgraded, {}).encode()

    def upgrade_entry(self, topic: str, key: bytes, version: int, value: bytes) -> bytes:
        upgrade = getattr(self._channel_of(topic).cls, "upgrade_entry", None)
        if upgrade is None:
            return value
        upgraded = upgrade(_json_or_bytes(value), version, key.decode(), topic)
        return bytes(upgraded) if isinstance(upgraded, (bytes, bytearray)) else to_json(upgraded).encode()


def _reply(given: Any, status: str = "ok") -> Any:
    if isinstance(given, Reply):
        return types.Reply(name("a status", given.status), pack(given.response))
    return types.Reply(status, pack(given))


def _decision(given: Any, event: str) -> Any:
    if given is None:
        return types.Decision_Pass()
    if given is drop:
        return types.Decision_Drop()
    return types.Decision_HandOver() if given is hand_over else types.Decision_Replace(pack_object(event, given, {}))


def _json_or_bytes(value: bytes) -> Any:
    try:
        return parse(value.decode())
    except ValueError:
        return value


class Gate:
    """The callback of a gatekeeper."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect

    def connect(self) -> Any:
        try:
            identity = self._connect(ConnectRequest())
        except Forbidden as forbidden:
            return _refused(forbidden.status, forbidden.body)
        except TokenProblem:
            return _refused(403, "")
        except Refusal as refusal:
            reason = refusal.response.get("reason") if isinstance(refusal.response, dict) else ""
            return _refused(403, str(reason))
        if not isinstance(identity, Identity):
            raise TypeError('a gatekeeper must return who the client is, such as `Identity(user="ada")` or `Identity()`, or call `forbid`')
        socket_id = None if identity.socket_id is None else name("a socket id", identity.socket_id)
        user = None if identity.user is None else name("a user", identity.user)
        return types.Verdict_Granted(types.Identity(socket_id, user, object_text("the claims", identity.claims, {})))


def _refused(status: int, body: str) -> Any:
    return types.Verdict_Refused(types.Refusal(status, body))
