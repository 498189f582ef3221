"""The channels of `naughty` with a room."""

import dataclasses
from typing import Any

from bennu import Payload, Socket, Topic, channel, entries, on, refuse, stop
from bennu import _contract as contract
from naughty_events import ENTRIES, MIB, OK, fail, field, unknown
from naughty_tables import for_members, for_messages


@dataclasses.dataclass
class Nothing:
    pass


@channel("lasting:*", room=Nothing, durable=True, linger_ms=0)
class Lasting(for_members(ENTRIES), for_messages(ENTRIES)):
    pass


@dataclasses.dataclass
class Hall:
    count: int = 0
    ended: list[str] = dataclasses.field(default_factory=list)
    mood: str = "tell"
    ballast: str = ""


def count(payload: Any, topic: Topic[Hall]):
    topic.room.count += 1
    return {"count": topic.room.count}


def look(payload: Any, topic: Topic[Hall]):
    return {"count": topic.room.count, "ended": topic.room.ended}


def publish(payload: Any, topic: Topic[Hall]):
    topic.publish_state(field(payload, "state"))
    return OK


HALL = {"count": count, "look": look, "publish": publish}
HALL_ENTRIES = {name: ENTRIES[name] for name in ("entry_put", "entry_get", "entry_delete", "entries")}


class UnrulyEvents(for_members({**ENTRIES, **HALL}), for_messages({**HALL_ENTRIES, **HALL, "*": unknown})):
    @on("tick")
    def start_ticks(self, socket: Socket[Hall], ms: int):
        socket.tick(ms)
        return OK

    @on("at_tick")
    def at_tick(self, socket: Socket[Hall], mood: str):
        socket.room.mood = mood
        return OK

    @on("sit")
    def sit(self, socket: Socket[Hall], seat: str, ms: int):
        socket.take_seat(seat, ms)
        return OK

    @on("rise")
    def rise(self, socket: Socket[Hall]):
        socket.leave_seat()
        return OK

    @on("publish_raw")
    def publish_raw(self, socket: Socket[Hall], state: str):
        contract.socket.publish_state(state)
        return OK

    @on("clear")
    def clear(self, socket: Socket[Hall]):
        socket.clear_room()
        return OK

    @on("stop")
    def stop(self, socket: Socket[Hall]):
        return stop("asked to")

    @on("grow")
    def grow(self, socket: Socket[Hall]):
        socket.room.ballast = "x" * MIB
        return OK

    @on("count_and_refuse")
    def count_and_refuse(self, socket: Socket[Hall]):
        socket.room.count += 1
        socket.publish_state({"late": True})
        socket.take_seat("late", 1000)
        refuse("too late")

    @on("count_and_fail")
    def count_and_fail(self, socket: Socket[Hall]):
        socket.room.count += 1
        fail("asked to fail after it counted")

    @staticmethod
    def seat(topic: Topic[Hall], change: str, seat: str):
        topic.broadcast("seat", seat=seat, change=change)

    @staticmethod
    def tick(topic: Topic[Hall], tick):
        if topic.room.mood == "fail":
            fail("asked to fail in handle_tick")
        topic.broadcast("beat", tick)

    @staticmethod
    def upgrade_entry(value: Any, version: int, key: str, topic: str):
        return value

    def leave(self, socket: Socket[Hall], cause: str):
        socket.room.ended.append(cause)


UNRULY: dict[str, Any] = {"room": Hall, "linger_ms": 100, "tick_faults": 3}


@channel("unruly:*", **UNRULY)
class Unruly(UnrulyEvents):
    pass


def put_all(wanted: dict[str, Any]):
    for key, value in wanted.items():
        if value is None:
            entries.delete(key)
        else:
            entries.put(key, value)


def put_of_message(payload: Any, topic: Topic):
    put_all(payload)
    return OK


# Topics that publish the entries with the prefixes `p/` and `q/`.
@channel("public:*", room=Nothing, linger_ms=100, publishes=["p/", "q/"])
class Public(for_messages({"put": put_of_message, "*": unknown})):
    def join(self, socket: Socket, follow: list[str] = [], put: dict = {}):
        for prefix in follow:
            entries.follow(prefix)
        put_all(put)

    @on("put")
    def put(self, socket: Socket, payload: Payload):
        put_all(payload)
        return OK

    @on("put_then_fail")
    def put_then_fail(self, socket: Socket, payload: Payload):
        put_all(payload)
        fail("asked to fail after a put")

    @on("follow")
    def follow(self, socket: Socket, prefix: str):
        entries.follow(prefix)
        return OK

    @on("unfollow")
    def unfollow(self, socket: Socket, prefix: str):
        entries.unfollow(prefix)
        return OK

    @on("follows")
    def follows(self, socket: Socket, count: int, prefix: str):
        for number in range(count):
            entries.follow(f"{prefix}{number}")
        return OK

    @on("publish")
    def publish(self, socket: Socket, payload: Payload):
        return publish(payload, socket)

    @on("put_null")
    def put_null(self, socket: Socket):
        entries.put("p/null", None)

    @on("put_messagepack")
    def put_messagepack(self, socket: Socket):
        contract.entries.put(b"p/text", b"\xa4text")

    @on("put_much")
    def put_much(self, socket: Socket):
        for number in range(3):
            entries.put(f"p/{number}", "x" * 1_000_000)
