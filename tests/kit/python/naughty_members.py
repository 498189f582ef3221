"""The events of members of `naughty`: effects, faults, the store, replies."""

from typing import Any

from bennu import Payload, Socket, http, on, refuse, reply, stop, store, topics
from bennu import _contract as contract
from bennu._payload import pack
from naughty_events import MIB, OK, fail, own, scanned, store_put, value_or_null


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
