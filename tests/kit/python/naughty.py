"""The plugin `naughty` in Python, with the parts that tests/scripts uses. guest-examples/naughty describes the events. What the SDK would
refuse before the host does goes to the contract directly."""

from typing import Any

from bennu import Payload, Recipient, Socket, Topic, channel, drop, entries, hand_over, info, intercept, on, refuse, stop, store, topic_info
from bennu import _contract as contract
from bennu._payload import pack
from naughty_events import (
    ENTRIES,
    HTTP,
    TIMED,
    deliver_then_fail,
    fail,
    field,
    shown,
    store_put,
    told,
    unknown,
    value_or_null,
    wait_for_answer,
)
from naughty_members import Effects, Faulty, Replies, Stored
from naughty_rooms import Lasting, Public, Unruly
from naughty_tables import for_members, for_messages


__all__ = ["Forgiving", "Lasting", "Naughty", "Public", "Unruly"]


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
    for_members({**ENTRIES, **TIMED, **HTTP, "deliver_then_fail": deliver_then_fail}),
    for_messages(MESSAGES),
    Effects,
    Faulty,
    Stored,
    Replies,
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

    @topic_info("undelivered")
    def undelivered(topic: Topic, url: str, status: int | None, reason: str):
        times = store.get(f"undelivered:{url}", 0) + 1
        store.put(f"undelivered:{url}", times)
        topic.broadcast("undelivered", url=url, status=status, reason=reason, times=times)

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
