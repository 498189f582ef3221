"""Channels on the test kit: declarations, states, effects, faults."""

import json
import unittest
from dataclasses import dataclass, field
from datetime import timedelta
from types import ModuleType

import bennu
from bennu import (
    Payload,
    Socket,
    Topic,
    channel,
    entries,
    http,
    info,
    message,
    on,
    refuse,
    reply,
    schedule,
    store,
    token,
    topic_info,
    topics,
)
from bennu._build import Unbuildable, exports_of
from bennu.testing import NotJoined, Stage


@dataclass
class Room:
    names: set[str] = field(default_factory=set)


@channel("all:*", room=Room, start_topics=["all:1"])
class All:
    user: str = ""

    def join(self, socket: Socket[Room], user: str = "ada"):
        self.user = user
        socket.room.names.add(user)
        return {"names": socket.room.names}

    @on("null")
    def null(self, socket: Socket[Room]):
        return reply("ok", None)

    @on("bytes")
    def binary(self, socket: Socket[Room], data: bytes):
        socket.push("bytes", data)
        return data

    @on("after")
    def after(self, socket: Socket[Room]):
        return {"timer": socket.send_after(timedelta(seconds=1), "rang", [1])}

    @info("rang")
    def rang(self, socket: Socket[Room], payload: Payload):
        socket.push("rang", {"payload": payload}, source=socket.message.source)

    @on("token")
    def token(self, socket: Socket[Room], value: str):
        signed = token.sign("salt", {"value": value})
        try:
            token.verify("pepper", signed)
        except bennu.TokenProblem as problem:
            return {"value": token.verify("salt", signed), "problem": problem.problem}

    @on("people")
    def people(self, socket: Socket[Room]):
        return {
            "members": [person.user for person in topics.members(socket.topic)],
            "under": topics.under("all:"),
            "count": socket.member_count,
            "user": socket.user,
            "claims": socket.claims,
        }

    @on("get")
    def get(self, socket: Socket[Room], url: str):
        return http.get(url).json()

    @on("request")
    def request(self, socket: Socket[Room], url: str):
        http.request("answered", url, json={"a": 1})

    @info("answered")
    def answered(self, socket: Socket[Room], payload: Payload):
        socket.push("answered", payload)

    @on("mistake")
    def mistake(self, socket: Socket[Room], kind: str):
        store.put("kept", kind)
        match kind:
            case "list":
                socket.push("event", [1])
            case "none":
                socket.push("event", None)
            case "nan":
                socket.broadcast("event", value=float("nan"))
            case "name":
                socket.push("e" * 256)
            case "prefix":
                entries.follow("p" * 256)
            case "order":
                http.deliver("https://a.example/1", order="o" * 256)
            case "number":
                socket.send_after(1.5, "event")
            case "half":
                raise ValueError(json.loads(r'"\ud83d"'))
            case "state":
                self.user = object()
            case "caused":
                try:
                    {}["missing"]
                except KeyError as error:
                    raise RuntimeError("it failed") from error

    @info("refuses")
    def refuses(self, socket: Socket[Room]):
        refuse("nobody waits")

    @on("tell_refuses")
    def tell_refuses(self, socket: Socket[Room]):
        socket.send_self("refuses")

    @message("forget")
    def forget(topic: Topic[Room]):
        topic.clear_room()
        schedule.after(topic.topic, timedelta(minutes=1), "key", "fired", by="schedule")
        return {"members": topic.member_count}

    @topic_info("fired", "start", "daily")
    def fired(topic: Topic[Room], by: str = "host"):
        topic.broadcast("fired", by=by, source=topic.message.source, key=topic.message.key)

    def leave(self, socket: Socket[Room], cause: str):
        socket.broadcast("left", cause=cause)


class ChannelsTest(unittest.TestCase):
    def setUp(self):
        self.stage = Stage(All)
        self.addCleanup(self.stage.close)

    def fault(self, kind):
        """The text of the fault that a mistake is."""
        self.stage.join("all:1").push("mistake", kind=kind)
        return self.stage.faults[-1]["detail"]

    def test_members_share_a_room(self):
        self.assertEqual(self.stage.join("all:1").response, {"names": ["ada"]})
        self.assertEqual(self.stage.join("all:1", user="bo").response, {"names": ["ada", "bo"]})
        self.assertEqual(self.stage.send("all:1", "forget"), ("ok", {"members": 2}))
        self.assertEqual(self.stage.join("all:1", user="cy").response, {"names": ["cy"]})

    def test_schedules_and_what_the_host_tells_have_a_source(self):
        ada = self.stage.join("all:1")
        self.stage.send("all:1", "forget")
        self.stage.advance(timedelta(minutes=2))
        ada.assert_broadcast("fired", by="schedule", source="schedule", key="key")
        self.stage.tell("all:1", "cron", "daily", by="cron")
        ada.assert_broadcast("fired", by="cron", source="cron", key=None)

    def test_payloads_can_be_any_value_or_bytes(self):
        ada = self.stage.join("all:1")
        ada.push("null")
        self.assertIsNone(ada.assert_reply("ok", None))
        ada.push("bytes", b"\x00\xff")
        self.assertEqual(ada.assert_reply("ok", b"\x00\xff"), b"\x00\xff")
        ada.assert_push("bytes", b"\x00\xff")
        ada.push("bytes", {})
        ada.assert_reply("error", {"reason": "expected bytes"})
        ada.push("after")
        self.stage.advance(1_000)
        ada.assert_push("rang", payload=[1], source="self")

    def test_an_unknown_event_and_a_payload_that_does_not_fit_are_refused(self):
        ada = self.stage.join("all:1")
        ada.push("nothing")
        ada.assert_reply("error", {"reason": 'unknown event "nothing"'})
        ada.push("get", url=1)
        ada.assert_reply("error", {"reason": "url: expected a string"})
        with self.assertRaises(NotJoined) as raised:
            self.stage.join("all:1", user=1)
        self.assertEqual(raised.exception.response, {"reason": "user: expected a string"})

    def test_topics_and_tokens_can_be_asked_for(self):
        ada = self.stage.client(user="ada", claims={"role": "admin"}).join("all:1")
        ada.push("people")
        expected = {"members": ["ada"], "under": [["all:1", 1]], "count": 1, "user": "ada", "claims": {"role": "admin"}}
        ada.assert_reply("ok", expected)
        ada.push("token", value="v")
        ada.assert_reply("ok", {"value": {"value": "v"}, "problem": "invalid"})

    def test_requests_by_http_get_the_answers_of_the_test(self):
        ada = self.stage.join("all:1")
        self.stage.http("GET", "https://a.example/1", json={"name": "ü"})
        ada.push("get", url="https://a.example/1")
        ada.assert_reply("ok", {"name": "ü"})
        ada.push("get", url="https://a.example/2")
        ada.assert_reply("error", {"reason": "unavailable"})
        self.stage.http("POST", "https://a.example/1", failure="timeout")
        ada.push("request", url="https://a.example/1")
        ada.assert_push("answered", failure="timeout")

    def test_a_mistake_is_an_exception_with_the_line_of_the_plugin(self):
        expected = {
            "list": "TypeError: the payload of `event` must be an object, and not list",
            "none": "TypeError: the payload of `event` must be an object, and not NoneType",
            "nan": "ValueError: Out of range float values are not JSON compliant",
            "name": "ValueError: an event has at most 255 bytes",
            "prefix": "ValueError: a prefix has at most 255 bytes",
            "order": "ValueError: an order key has at most 255 bytes",
            "number": "TypeError: a time must be a whole number, and not 1.5",
            "half": "ValueError: ?",
            "state": "TypeError: object is not a JSON value",
        }
        for kind, text in expected.items():
            fault = self.fault(kind)
            self.assertTrue(fault.startswith(text), fault)
            if kind != "state":
                self.assertRegex(fault, r"; in All\.mistake \(.*test_channels\.py:\d+\)$")
            self.assertIsNone(self.stage.stored("kept"), "nothing of the callback happens")

    def test_a_fault_has_the_cause_of_an_exception(self):
        self.assertRegex(
            self.fault("caused"), r"^RuntimeError: it failed; in .*:\d+\); after KeyError: 'missing'; in All\.mistake \(.*:\d+\)$"
        )

    def test_a_callback_that_nobody_waits_for_cannot_refuse(self):
        self.stage.join("all:1").push("tell_refuses")
        self.assertIn("`refuses` can't refuse", self.stage.faults[-1]["detail"])

    def test_another_build_gets_the_state_with_defaults_for_new_fields(self):
        @channel("all:*", room=Room)
        class Next:
            user: str = ""
            card: str = "none"

            @on("who")
            def who(self, socket: Socket[Room]):
                return {"user": self.user, "card": self.card}

        ada = self.stage.join("all:1", user="bo")
        self.stage.reload(Next)
        ada.push("who")
        ada.assert_reply("ok", {"user": "bo", "card": "none"})


class DeclarationsTest(unittest.TestCase):
    def test_a_mistake_in_a_channel_says_what_to_do(self):
        def without_default():
            @channel("a")
            class Wrong:
                user: str

        def twice():
            @channel("a")
            class Wrong:
                @on("x")
                def one(self, socket): ...

                @on("x")
                def other(self, socket): ...

        def not_static():
            @channel("a")
            class Wrong:
                def tick(self, topic, tick): ...

        def asynchronous():
            @channel("a")
            class Wrong:
                @on("x")
                async def one(self, socket): ...

        def plain_room():
            @channel("a", room=object)
            class Wrong: ...

        expected = {
            without_default: "Wrong.user needs a default",
            twice: "two methods for the event `x`: one and other",
            not_static: "Wrong.tick needs `@staticmethod`",
            asynchronous: "Wrong.one can't be async",
            plain_room: "must be a dataclass",
            lambda: channel(): "needs topics or prefixes",
            lambda: channel("a", durable=True): "for a channel with a `room`",
            lambda: on(): "needs the names of events",
        }
        for declare, text in expected.items():
            with self.assertRaisesRegex(TypeError, text):
                declare()

    def test_a_build_exports_what_the_plugin_has(self):
        def exports(**found):
            source = ModuleType("plugin")
            vars(source).update(found)
            return exports_of(source, "plugin.py")

        @channel("b:*")
        class Small: ...

        self.assertEqual(exports(Small=Small), ["channel"])
        self.assertEqual(exports(All=All, Small=Small), ["channel", "handle-message", "handle-topic-info"])
        connect = bennu.gatekeeper(lambda request: bennu.Identity())
        self.assertEqual(exports(connect=connect), ["connect"])
        for found in ({}, {"connect": connect, "Small": Small}):
            with self.assertRaises(Unbuildable):
                exports(**found)
        with self.assertRaisesRegex(Unbuildable, "both the channel of b:"):
            exports(Small=Small, Other=channel("b:*")(type("Other", (), {})))


if __name__ == "__main__":
    unittest.main()
