"""The plugin `naughty` in Python, with the parts that tests/scripts uses. guest-examples/naughty describes the events. What the SDK would
refuse before the host does goes to the contract directly."""

import dataclasses
from typing import Any

from bennu import (
    Payload, Recipient, Socket, Topic, channel, drop, entries, hand_over, http, info, intercept, on, refuse, reply, stop, store, topic_info,
    topics,
)  # fmt: skip
from bennu import _contract as contract
from bennu._payload import pack
from naughty_events import (
    ENTRIES, HTTP, MIB, OK, TIMED, deliver_then_fail, fail, field, own, scanned, shown, told, value_or_null, wait_for_answer,
)  # fmt: skip
from naughty_tables import for_members, for_messages


class Effects:
    """The events that ask for effects."""

    @on("push")
    def push(self, socket, event: str, payload):
        socket.push(event, payload)
        return OK

    @on("broadcast")
    def broadcast(self, socket, event: str, payload):
        socket.broadcast(event, payload)
        return OK

    @on("broadcast_from")
    def broadcast_from(self, socket, event: str, payload):
        socket.broadcast_from(event, payload)
        return OK

    @on("publish")
    def publish(self, socket, topic: str, event: str, payload):
        socket.publish(topic, event, payload)
        return OK

    @on("broadcast_droppable")
    def broadcast_droppable(self, socket, key: str, event: str, payload):
        if len(key) > 255:
            contract.droppable.broadcast_droppable(key, event, pack(payload))
        socket.broadcast_droppable(key, event, payload)
        return OK

    @on("broadcast_from_droppable")
    def broadcast_from_droppable(self, socket, key: str, event: str, payload):
        socket.broadcast_from_droppable(key, event, payload)
        return OK

    @on("publish_droppable")
    def publish_droppable(self, socket, topic: str, key: str, event: str, payload):
        socket.publish_droppable(topic, key, event, payload)
        return OK

    @on("send")
    def send(self, socket, topic: str, event: str, payload):
        socket.send(topic, event, payload)
        return OK

    @on("send_member")
    def send_member(self, socket, topic: str, member: int, event: str, payload):
        socket.send_member(topic, member, event, payload)
        return OK

    @on("push_to_socket")
    def push_to_socket(self, socket, topic: str, id: str, event: str, payload):
        socket.push_to_socket(topic, id, event, payload)
        return OK

    @on("subscribe")
    def subscribe(self, socket, topic: str):
        socket.subscribe(topic)
        return OK

    @on("unsubscribe")
    def unsubscribe(self, socket, topic: str):
        socket.unsubscribe(topic)
        return OK

    @on("disconnect")
    def disconnect(self, socket, id: str):
        socket.disconnect(id)
        return OK

    @on("track")
    def track(self, socket, key: str, meta):
        socket.track(key, meta)
        return OK

    @on("track_text")
    def track_text(self, socket, key: str, meta: str):
        contract.presence.track(key, meta)
        return OK

    @on("update_presence")
    def update_presence(self, socket, key: str, meta):
        socket.update_presence(key, meta)
        return OK

    @on("untrack")
    def untrack(self, socket, key: str):
        socket.untrack(key)
        return OK

    @on("push_presence")
    def push_presence(self, socket):
        socket.push_presences()
        return OK

    @on("people")
    def people(self, socket, topic: str):
        return [person.user for person in topics.members(topic)]

    @on("topics")
    def topics(self, socket, prefix: str):
        return topics.under(prefix)


class Faulty:
    """The events that fail, or that ask for too much."""

    @on("fail")
    def fail(self, socket):
        fail("asked to fail")

    @on("huge")
    def huge(self, socket, bytes: int):
        return "x" * bytes

    @on("huge_assigns")
    def huge_assigns(self, socket):
        self.ballast = "x" * MIB
        return OK

    @on("long_status")
    def long_status(self, socket):
        contract.socket.reply(socket.ref, contract.types.Reply("s" * 256, pack({})))

    @on("push_array")
    def push_array(self, socket):
        contract.socket.push("array", pack([1]))

    @on("bad_json")
    def bad_json(self, socket):
        contract.socket.push("bad", contract.types.Payload_Json('{"a":'))

    @on("bad_ref")
    def bad_ref(self, socket):
        contract.socket.reply('"1",', contract.types.Reply("ok", pack({})))

    @on("publish_elsewhere")
    def publish_elsewhere(self, socket):
        socket.publish("elsewhere:1", "hello")

    @on("long_event")
    def long_event(self, socket):
        contract.socket.push("e" * 256, pack({}))

    @on("effects")
    def effects(self, socket):
        for number in range(1_000_000):
            socket.push("one_of_many", n=number)

    @on("timers")
    def timers(self, socket):
        for _ in range(17):
            socket.send_after(60_000, "timer")

    @on("short_timer")
    def short_timer(self, socket):
        socket.send_after(9, "timer")

    @on("tick")
    def start_ticks(self, socket):
        socket.tick(100)
        return OK

    @on("log_lines")
    def log_lines(self, socket):
        for number in range(257):
            contract.host.log(contract.host.Level.INFO, f"line {number}")


def store_put(payload: Any, topic: Topic) -> Any:
    store.put(field(payload, "key"), field(payload, "value"))
    return OK


class Stored:
    """The events about the store."""

    @on("store_put")
    def store_put(self, socket, payload: Payload):
        return store_put(payload, socket)

    @on("store_put_expiring")
    def store_put_expiring(self, socket, key: str, value, ms: int):
        store.put_expiring(key, value, ms)
        return value_or_null(store.get(key))

    @on("store_get")
    def store_get(self, socket, key: str):
        return value_or_null(store.get(key))

    @on("store_delete")
    def store_delete(self, socket, key: str):
        store.delete(key)
        return OK

    @on("store_scan")
    def store_scan(self, socket, payload: Payload):
        return scanned(store, payload)

    @on("store_count")
    def store_count(self, socket, key: str):
        count = store.get(key, 0) + 1
        store.put(key, count)
        return {"count": count}

    @on("http_count")
    def http_count(self, socket, key: str, url: str):
        count, body = store.get(key, 0) + 1, http.get(url).text()
        store.put(key, count)
        return {"count": count, "body": body}

    @on("store_own")
    def store_own(self, socket, key: str):
        return own(store, key)

    @on("store_then_fail")
    def store_then_fail(self, socket, payload: Payload):
        store_put(payload, socket)
        fail("asked to fail after a put")

    @on("store_no_key")
    def store_no_key(self, socket):
        store.put("", 1)

    @on("store_long_key")
    def store_long_key(self, socket):
        store.put("k" * 1025, 1)

    @on("store_long_value")
    def store_long_value(self, socket):
        store.put_bytes("k", bytes(MIB + 1))

    @on("store_many")
    def store_many(self, socket):
        for number in range(1025):
            store.put(f"many:{number}", number)

    @on("store_much")
    def store_much(self, socket):
        for number in range(5):
            store.put_bytes(f"much:{number}", bytes(1_000_000))


class Replies:
    """The events about replies, timers and what a member tells itself."""

    @on("echo")
    def echo(self, socket, payload: Payload):
        return value_or_null(payload)

    @on("shout")
    def shout(self, socket, payload: Payload):
        socket.broadcast("shout", payload)
        return OK

    @on("tell")
    def tell(self, socket, payload: Payload):
        socket.broadcast("secret", payload)
        return OK

    @on("later")
    def later(self, socket, ms: int):
        socket.send_after(ms, "later", to=socket.ref)

    @on("twice")
    def twice(self, socket):
        socket.reply(socket.ref, {"first": True})
        return {"second": True}

    @on("late_bytes")
    def late_bytes(self, socket, bytes: int):
        socket.reply(socket.ref, "x" * bytes)

    @on("timer")
    def start_timer(self, socket, ms: int):
        self.timer = socket.send_after(ms, "timer")
        return {"timer": self.timer}

    @on("cancel")
    def cancel(self, socket):
        if self.timer is not None:
            socket.cancel(self.timer)
        self.timer = None
        return OK

    @on("self", "info_stop", "info_fail", "info_reply", "flood")
    def to_self(self, socket):
        socket.send_self(socket.message.event)
        return OK

    @on("refuse_late")
    def refuse_late(self, socket, key: str, value):
        many_effects(socket, key, value)
        refuse("too late")

    @on("discard")
    def discard(self, socket, key: str, value):
        many_effects(socket, key, value)
        socket.discard()
        return OK

    @on("push_after_discard")
    def push_after_discard(self, socket):
        socket.discard()
        socket.push("late")

    @on("put_after_discard")
    def put_after_discard(self, socket):
        socket.discard()
        store.put("late", 1)

    @on("stop")
    def stop(self, socket):
        return stop("asked to")

    @on("stop_reply")
    def stop_reply(self, socket):
        return stop("asked to", {"last": "words"})

    @on("status")
    def status(self, socket, status: str):
        return reply(status)

    @on("no_reply")
    def no_reply(self, socket):
        pass


def many_effects(socket: Socket, key: str, value: Any):
    """Asks for effects that a test would notice."""
    socket.push("late")
    socket.broadcast("late")
    socket.send_self("self")
    socket.send_after(10, "timer")
    socket.track("late")
    socket.subscribe("naughty:late")
    store.put(key, value)


def refuse_message_late(payload: Any, topic: Topic):
    topic.broadcast("late")
    store_put(payload, topic)
    refuse("too late")


def shout_droppable(payload: Any, topic: Topic):
    topic.broadcast_droppable("shouts", "shout", payload)
    topic.publish_droppable(field(payload, "to"), "shouts", "shout", payload)


def tell_member(payload: Any, topic: Topic):
    topic.send_member(payload["topic"], payload["member"], "told")
    topic.push_to_socket(payload["topic"], payload["id"], "shown")


def unknown(payload: Any, topic: Topic):
    refuse(f'unknown event "{topic.message.event}"')


MESSAGES = {
    **TIMED,
    **HTTP,
    "wait_for_answer": wait_for_answer,
    "echo": lambda payload, _: value_or_null(payload),
    "shout": lambda payload, topic: topic.broadcast("shout", payload),
    "shout_droppable": shout_droppable,
    "refuse": lambda *_: refuse("no"),
    "refuse_late": refuse_message_late,
    "tell_member": tell_member,
    "crash": lambda *_: fail("asked to fail in handle_message"),
    "put": store_put,
    "quiet": lambda *_: None,
    "*": unknown,
}


@channel("naughty:*")
class Naughty(
    for_members({**ENTRIES, **TIMED, **HTTP, "deliver_then_fail": deliver_then_fail}), for_messages(MESSAGES), Effects, Faulty, Stored, Replies
):
    mood: str = "pass"
    timer: int | None = None
    ballast: str = ""

    def join(self, socket: Socket, mood: str = "pass", http_get: dict | None = None):
        if socket.topic == "naughty:join_fail":
            fail("asked to fail in join")
        if socket.topic == "naughty:join_refuse":
            socket.broadcast("refused")
            refuse("nobody may join here")
        self.mood = mood
        if http_get:
            socket.push("asked", HTTP["http_get"](http_get, socket))
        return {"member": socket.id}

    @info("*")
    def told(self, socket: Socket, payload: Payload):
        about = socket.message
        heard = {"topic": "heard", "answer": "answered", "member": "addressed"}.get(about.source)
        if about.source == "http":
            socket.push(about.event, shown(payload))
        elif heard:
            socket.push(heard, topic=about.topic, event=about.event, payload=payload)
        else:
            return self.told_by_itself(socket, about, payload)

    def told_by_itself(self, socket: Socket, about, payload: Any):
        match about.event:
            case "later":
                socket.reply(payload["to"], {"late": True})
            case "self":
                socket.push("told", source=about.source)
            case "secret":
                socket.push("handed_over", payload)
            case "info_stop":
                return stop("asked to")
            case "info_fail":
                fail("asked to fail in handle_info")
            case "info_reply":
                fail("handle_info can't reply: the SDK drops what it returns")
            case "timer":
                self.timer = None
                socket.push("rang")
            case "flood":
                for _ in range(600):
                    socket.send_self("flood")

    @topic_info("http_answer")
    def http_answered(topic: Topic, payload: Payload):
        topic.broadcast("http_answer", shown(payload))

    @topic_info("*")
    def topic_told(topic: Topic, payload: Payload):
        told(payload, topic)

    @intercept("secret")
    def keep_secret(self, recipient: Recipient, payload: Payload):
        match self.mood:
            case "replace":
                return {"for": recipient.id, "secret": payload}
            case "replace_with_array":
                return [1]
            case "fail":
                fail("asked to fail in handle_out")
            case "store":
                store.put("secret", True)
            case "entry":
                entries.put("secret", True)
            case "ask":
                contract.socket.push("asked", pack(payload))
            case "drop":
                return drop
            case "hand_over":
                return hand_over

    def leave(self, socket: Socket, cause: str, detail: str):
        if socket.topic == "naughty:last_words":
            socket.push("last_words", timer=socket.send_after(1000, "timer"))
        socket.broadcast("gone", member=socket.id, cause=cause, detail=detail)


@channel("forgiving:*", on_fault="keep")
class Forgiving:
    count: int = 0
    fails_out: bool = False

    def join(self, socket: Socket, fails_out: bool = False):
        self.fails_out = fails_out

    @on("count")
    def count_up(self, socket: Socket):
        self.count += 1
        return {"count": self.count}

    @on("count_and_fail")
    def count_and_fail(self, socket: Socket):
        self.count += 1
        socket.broadcast("counted")
        fail("asked to fail after it counted")

    @on("self_fail")
    def self_fail(self, socket: Socket):
        socket.send_self("fail")
        return {"count": self.count}

    @on("secret")
    def secret(self, socket: Socket, payload: Payload):
        socket.broadcast("secret", payload)
        return {"count": self.count}

    @info("*")
    def told(self, socket: Socket):
        fail("asked to fail in handle_info")

    @intercept("secret")
    def keep_secret(self, recipient: Recipient):
        if self.fails_out:
            fail("asked to fail in handle_out")


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
