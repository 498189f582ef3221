"""Clients of a test, and what they have received."""

import json
from typing import Any

from .._payload import NAMED, pack_any
from ._frames import Frame, frame_of
from ._kit import Kit, decoded, fields


class NotJoined(Exception):
    """The reply to a join that didn't succeed."""

    def __init__(self, response: Any) -> None:
        super().__init__(f"the join ended with an error reply: {json.dumps(response)}")
        self.response = response


class Client:
    """A client that is connected. It can join several topics."""

    def __init__(self, kit: Kit, number: int) -> None:
        self._kit, self._number = kit, number
        self._frames: list[Frame] = []
        self._closed: int | None = None

    def join(self, topic: str, params: Any = NAMED, /, **more: Any) -> "Actor":
        """Joins a topic. Raises `NotJoined` if it is refused. If the client is in the topic, that membership ends."""
        return Actor(self, topic, pack_any("phx_join", params, more))

    def close(self) -> None:
        """The connection ends."""
        self._kit.do("close", client=self._number)

    def _push(self, topic: str, event: str, payload: Any, join_ref: str | None = None) -> str:
        return self._kit.do("push", client=self._number, topic=topic, event=event, join_ref=join_ref, **fields(payload))

    def _receive(self) -> None:
        while (next_ := self._kit.do("next", client=self._number)) is not None:
            if "closed" in next_:
                self._closed = next_["closed"]
            elif "frame" in next_:
                self._frames.append(next_["frame"])
            else:
                self._frames.append(frame_of(decoded(next_["binary_base64"]) or b""))


class Actor:
    """A member of a topic, with what its client has received.

    An assertion finds a message in any order, removes it, and returns its payload. An expected dictionary matches an object with these
    fields and any others.
    """

    def __init__(self, client: Client, topic: str, params: Any) -> None:
        self.client, self.topic = client, topic
        self._inbox: list[Frame] = []
        self._room_state: Any = None
        self._join_ref = self._last = client._push(topic, "phx_join", params)
        reply = self._take(lambda frame: _is_reply(frame, self._join_ref), "a reply to its join")[4]
        if reply["status"] != "ok":
            raise NotJoined(reply["response"])
        #: The response of its join.
        self.response = reply["response"]

    def push(self, event: str, payload: Any = NAMED, /, **more: Any) -> str:
        """Its client sends an event. Returns the ref of the message."""
        self._last = self.client._push(self.topic, event, pack_any(event, payload, more), self._join_ref)
        return self._last

    def leave(self) -> None:
        """Its client leaves the topic."""
        self.push("phx_leave")

    def close(self) -> None:
        """Its connection ends."""
        self.client.close()

    def assert_reply(self, status: str = "ok", expected: Any = NAMED, ref: str | None = None) -> Any:
        """Asserts a reply to the last message, or to the message with this ref. Returns its response."""
        expected, ref = {} if expected is NAMED else expected, ref or self._last

        def is_it(frame: Frame) -> bool:
            return _is_reply(frame, ref) and frame[4]["status"] == status and _matches(expected, frame[4]["response"])

        return self._take(is_it, f"a reply `{status}` with {_shown(expected)}")[4]["response"]

    def assert_push(self, event: str, expected: Any = NAMED, /, **more: Any) -> Any:
        """Asserts an event that was sent to this client alone. Returns its payload."""
        return self._assert("push", event, self._join_ref, more if expected is NAMED else expected)

    def assert_broadcast(self, event: str, expected: Any = NAMED, /, **more: Any) -> Any:
        """Asserts an event that was sent to the topic. Returns its payload."""
        return self._assert("broadcast", event, None, more if expected is NAMED else expected)

    def refute(self, event: str) -> None:
        """Asserts that no message of this event was received."""
        self._receive()
        found = [frame for frame in self._inbox if frame[3] == event]
        assert not found, f"received {_shown(found[0])}"

    def assert_disconnected(self, code: int) -> None:
        """Asserts that the connection was closed, with this code."""
        self._receive()
        closed = self.client._closed
        assert closed == code, f"expected the end of the connection with {code}, and not with {closed}"

    @property
    def room_state(self) -> Any:
        """The topic's published state as its client has it. None before the first one."""
        self._receive()
        return self._room_state

    def received(self) -> list[Frame]:
        """Returns and removes all other messages, as frames `[join_ref, ref, topic, event, payload]`."""
        self._receive()
        frames, self._inbox = self._inbox, []
        return frames

    def _receive(self) -> None:
        self.client._receive()
        own = [frame for frame in self.client._frames if frame[2] == self.topic]
        self.client._frames = [frame for frame in self.client._frames if frame[2] != self.topic]
        for frame in own:
            if frame[3] == "room_state":
                self._room_state = _merged({}, frame[4]["state"])
            elif frame[3] == "room_diff":
                self._room_state = _merged(self._room_state, frame[4]["patch"])
        self._inbox += own

    def _assert(self, what: str, event: str, join_ref: str | None, expected: Any) -> Any:
        found = self._take(
            lambda frame: frame[0] == join_ref and frame[3] == event and _matches(expected, frame[4]),
            f"a {what} of `{event}` with {_shown(expected)}",
        )
        return found[4]

    def _take(self, is_it: Any, what: str) -> Frame:
        self._receive()
        for at, frame in enumerate(self._inbox):
            if is_it(frame):
                return self._inbox.pop(at)
        received = "".join(f"\n  {_shown(frame)}" for frame in self._inbox) or "nothing"
        faults = "".join(f"\nfault: {fault['kind']}: {fault['detail']}" for fault in self.client._kit.do("faults"))
        raise AssertionError(f"expected {what}; received {received}{faults}")


def _is_reply(frame: Frame, ref: str) -> bool:
    return frame[3] == "phx_reply" and frame[1] == ref


def _shown(value: Any) -> str:
    return json.dumps(value, default=lambda part: f"bytes {part.hex()}")


def _matches(expected: Any, value: Any) -> bool:
    """Whether a value is the expected one. An object may have further fields."""
    if isinstance(expected, dict) and isinstance(value, dict):
        return all(name in value and _matches(part, value[name]) for name, part in expected.items())
    if isinstance(expected, list) and isinstance(value, list):
        return len(expected) == len(value) and all(map(_matches, expected, value))
    return isinstance(expected, bool) == isinstance(value, bool) and expected == value


def _merged(state: Any, patch: Any) -> Any:
    """Applies a merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(state) if isinstance(state, dict) else {}
    for name, part in patch.items():
        if part is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), part)
    return merged
