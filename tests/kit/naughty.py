"""The plugin `naughty` in Python, with the parts that tests/scripts uses. guest-examples/naughty describes the events."""

from bennu_kit import Channel, Decision, Fail, Kit, Refuse, Reply, Stop, Text, text
from entries import Entries, read, written
from entry_events import WithEntries, field, optional
from public import Public
from timed import Timed

OK = Reply()


def shown(answer):
    """An answer by HTTP for a client."""
    names = ("failure",) if "failure" in answer else ("status", "body")
    return {name: answer[name] for name in names}


class Naughty(Timed, WithEntries):
    route = {"intercepts": ["secret"]}

    def join(self, call):
        if call.topic == "naughty:join_fail":
            raise Fail("asked to fail in join")
        if call.topic == "naughty:join_refuse":
            call.broadcast("refused", {})
            raise Refuse({"reason": "nobody may join here"})
        call.assigns = {"mood": optional(call, "mood") or "pass", "timer": None, "ballast": ""}
        if optional(call, "http_get"):
            call.push("asked", self.http_get(call, call.payload["http_get"]))
        return {"member": call.member}

    def handle_in(self, call):
        act = getattr(self, f"on_{call.event}", None)
        return act(call) if act else super().handle_in(call)

    def on_echo(self, call):
        return Reply(call.payload)

    def on_shout(self, call):
        call.broadcast("shout", call.payload)
        return OK

    # Events, replies and timers.

    def on_push(self, call):
        fields = {"topic": call.payload["topic"]} if call.event == "publish" else {}
        call.ask(call.event, event=field(call, "event"), payload=field(call, "payload"), **fields)
        return OK

    on_broadcast = on_broadcast_from = on_publish = on_push

    def on_broadcast_droppable(self, call):
        fields = {"topic": call.payload["topic"]} if call.event == "publish_droppable" else {}
        key, event, payload = field(call, "key"), field(call, "event"), field(call, "payload")
        call.ask(call.event, key=key, event=event, payload=payload, **fields)
        return OK

    on_broadcast_from_droppable = on_publish_droppable = on_broadcast_droppable

    def on_tell(self, call):
        call.broadcast("secret", call.payload)
        return OK

    def on_later(self, call):
        call.ask("send_after", ms=field(call, "ms"), event="later", payload={"to": call.ref})

    def on_twice(self, call):
        call.reply(call.ref, Reply({"first": True}))
        return Reply({"second": True})

    def on_late_bytes(self, call):
        call.reply(call.ref, Reply("x" * field(call, "bytes")))

    def on_timer(self, call):
        call.assigns["timer"] = call.ask("send_after", ms=field(call, "ms"), event="timer", payload={})
        return Reply({"timer": call.assigns["timer"]})

    def on_cancel(self, call):
        if call.assigns["timer"] is not None:
            call.ask("cancel", timer=call.assigns["timer"])
            call.assigns["timer"] = None
        return OK

    def on_self(self, call):
        call.send_self(call.event, {})
        return OK

    on_info_stop = on_info_fail = on_info_reply = on_flood = on_self

    def on_stop(self, call):
        return Stop("asked to")

    def on_stop_reply(self, call):
        return Stop("asked to", Reply({"last": "words"}))

    @staticmethod
    def many_effects(call):
        call.push("late", {})
        call.broadcast("late", {})
        call.send_self("self", {})
        call.ask("send_after", ms=10, event="timer", payload={})
        call.ask("track", key="late", meta={})
        call.ask("subscribe", topic="naughty:late")
        call.put(field(call, "key"), field(call, "value"))

    def on_refuse_late(self, call):
        self.many_effects(call)
        raise Refuse({"reason": "too late"})

    def on_discard(self, call):
        self.many_effects(call)
        call.ask("discard")
        return OK

    def on_push_after_discard(self, call):
        call.ask("discard")
        call.push("late", {})

    def on_put_after_discard(self, call):
        call.ask("discard")
        call.put("late", 1)

    def on_status(self, call):
        return Reply({}, field(call, "status"))

    def on_no_reply(self, call):
        return None

    # Faults.

    def on_fail(self, call):
        raise Fail("asked to fail")

    def on_huge(self, call):
        return Reply("x" * field(call, "bytes"))

    def on_huge_assigns(self, call):
        call.assigns["ballast"] = "x" * (1 << 20)
        return OK

    def on_long_status(self, call):
        return Reply({}, "s" * 256)

    def on_push_array(self, call):
        call.push("array", [1])

    def on_bad_json(self, call):
        call.push("bad", Text('{"a":'))

    def on_bad_ref(self, call):
        call.reply('"1",', OK)

    def on_publish_elsewhere(self, call):
        call.ask("publish", topic="elsewhere:1", event="hello")

    def on_long_event(self, call):
        call.push("e" * 256, {})

    def on_effects(self, call):
        for number in range(1_000_000):
            call.push("one_of_many", {"n": number})

    def on_timers(self, call):
        for _ in range(17):
            call.ask("send_after", ms=60_000, event="timer")

    def on_short_timer(self, call):
        call.ask("send_after", ms=9, event="timer")

    def on_tick(self, call):
        call.ask("tick", ms=100)
        return OK

    def on_log_lines(self, call):
        for number in range(257):
            call.ask("log", level="info", message=f"line {number}")

    # Presences, other topics, sockets.

    def on_track(self, call):
        call.ask("track", key=field(call, "key"), meta=field(call, "meta"))
        return OK

    def on_track_text(self, call):
        call.ask("track", key=field(call, "key"), meta_text=field(call, "meta"))
        return OK

    def on_update_presence(self, call):
        call.ask("update_presence", key=field(call, "key"), meta=field(call, "meta"))
        return OK

    def on_untrack(self, call):
        call.ask("untrack", key=field(call, "key"))
        return OK

    def on_push_presence(self, call):
        call.ask("push_presences")
        return OK

    def on_send(self, call):
        call.ask("send", topic=field(call, "topic"), event=field(call, "event"), payload=field(call, "payload"))
        return OK

    def on_send_member(self, call):
        fields = {name: field(call, name) for name in ("topic", "member", "event", "payload")}
        call.ask("send_member", **fields)
        return OK

    def on_push_to_socket(self, call):
        fields = {name: field(call, name) for name in ("topic", "event", "payload")}
        call.ask("push_to_socket", socket_id=field(call, "id"), **fields)
        return OK

    def on_subscribe(self, call):
        call.ask(call.event, topic=field(call, "topic"))
        return OK

    on_unsubscribe = on_subscribe

    def on_disconnect(self, call):
        call.ask("disconnect", socket_id=field(call, "id"))
        return OK

    def on_people(self, call):
        return Reply([person["user"] for person in call.ask("members", topic=field(call, "topic"))])

    def on_topics(self, call):
        return Reply(call.ask("topics", prefix=field(call, "prefix")))

    # The store.

    def on_store_put(self, call):
        call.put(field(call, "key"), field(call, "value"))
        return OK

    def on_store_put_expiring(self, call):
        call.put_expiring(field(call, "key"), field(call, "value"), field(call, "ms"))
        return self.on_store_get(call)

    def on_store_get(self, call):
        return Reply(call.get(field(call, "key")))

    def on_store_delete(self, call):
        call.delete(field(call, "key"))
        return OK

    def on_store_scan(self, call):
        prefix, after, before = field(call, "prefix"), optional(call, "after"), optional(call, "before")
        start = prefix if after is None else after + "\0"
        end = before if before is not None else (prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else None)
        limit = {} if optional(call, "limit") is None else {"limit": call.payload["limit"]}
        return Reply(call.scan(start, end, backward=bool(optional(call, "backward")), **limit))

    def on_store_count(self, call):
        count = (call.get(field(call, "key")) or 0) + 1
        call.put(call.payload["key"], count)
        return Reply({"count": count})

    # HTTP.

    @staticmethod
    def http_get(call, wanted):
        times = wanted.pop("times", 1)
        for _ in range(times):
            answer = call.ask("http_get", **wanted)
        return shown(answer)

    def on_http_get(self, call):
        return Reply(self.http_get(call, call.payload))

    def on_http_count(self, call):
        count = (call.get(field(call, "key")) or 0) + 1
        answer = call.ask("http_get", url=field(call, "url"))
        if "failure" in answer:
            raise Refuse({"reason": "unavailable"})
        call.put(call.payload["key"], count)
        return Reply({"count": count, "body": answer["body"]})

    def on_deliver(self, call):
        wanted = dict(call.payload)
        for _ in range(wanted.pop("times", 1)):
            length = len(call.ask("http_deliver", **wanted))
        call.put(f"delivered:{wanted.get('body', '')}", True)
        return Reply({"length": length})

    def on_deliver_then_fail(self, call):
        self.on_deliver(call)
        raise Fail("asked to fail after a delivery")

    def on_http_send(self, call):
        call.ask("http_request", key="http_answer", **call.payload)
        return OK

    def on_store_own(self, call):
        key = field(call, "key")
        read = [call.get(key)]
        call.put(key, 1)
        read.append(call.get(key))
        call.delete(key)
        read.append(call.get(key))
        call.put(key, 2)
        return Reply([*read, call.get(key)])

    def on_store_then_fail(self, call):
        self.on_store_put(call)
        raise Fail("asked to fail after a put")

    def on_store_no_key(self, call):
        call.put("", 1)

    def on_store_long_key(self, call):
        call.put("k" * 1025, 1)

    def on_store_long_value(self, call):
        call.put("k", bytes((1 << 20) + 1))

    def on_store_many(self, call):
        for number in range(1025):
            call.put(f"many:{number}", number)

    def on_store_much(self, call):
        for number in range(5):
            call.put(f"much:{number}", bytes(1_000_000))

    # Callbacks without a client's message.

    def handle_info(self, call):
        if call["source"] == "http":
            return call.push(call.event, shown(call.payload))
        heard = {"topic": "heard", "answer": "answered", "member": "addressed"}.get(call["source"])
        if heard:
            call.push(heard, {"topic": call["from"], "event": call.event, "payload": call.payload})
        elif call.event == "later":
            call.reply(call.payload["to"], Reply({"late": True}))
        elif call.event == "self":
            call.push("told", {"source": call["source"]})
        elif call.event == "timer":
            call.assigns["timer"] = None
            call.push("rang", {})
        elif call.event == "secret":
            call.push("handed_over", call.payload)
        elif call.event == "flood":
            for _ in range(600):
                call.send_self("flood", {})
        elif call.event == "info_stop":
            return Stop("asked to")
        elif call.event == "info_fail":
            raise Fail("asked to fail in handle_info")
        elif call.event == "info_reply":
            return OK
        return None

    def handle_message(self, call):
        if call.event in Timed.EVENTS:
            return getattr(self, f"on_{call.event}")(call)
        if call.event == "echo":
            return Reply(call.payload)
        if call.event == "shout":
            return call.broadcast("shout", call.payload)
        if call.event == "shout_droppable":
            call.ask("broadcast_droppable", key="shouts", event="shout", payload=call.payload)
            return call.ask(
                "publish_droppable", topic=field(call, "to"), key="shouts", event="shout", payload=call.payload
            )
        if call.event == "refuse":
            raise Refuse({"reason": "no"})
        if call.event == "refuse_late":
            call.broadcast("late", {})
            self.on_store_put(call)
            raise Refuse({"reason": "too late"})
        if call.event == "tell_member":
            call.ask("send_member", topic=call.payload["topic"], member=call.payload["member"], event="told", payload={})
            return call.ask(
                "push_to_socket", topic=call.payload["topic"], socket_id=call.payload["id"], event="shown", payload={}
            )
        if call.event == "crash":
            raise Fail("asked to fail in handle_message")
        if call.event == "put":
            return self.on_store_put(call)
        if call.event in ("http_get", "http_send", "deliver"):
            return getattr(self, f"on_{call.event}")(call)
        return None if call.event == "quiet" else super().handle_message(call)

    def handle_topic_info(self, call):
        if call["source"] == "http" and "delivery" in call.payload:
            told = {name: call.payload[name] for name in ("url", "status", "reason")}
            times = (call.get(f"undelivered:{told['url']}") or 0) + 1
            call.put(f"undelivered:{told['url']}", times)
            return call.broadcast(call.event, {**told, "times": times})
        if call["source"] == "http":
            return call.broadcast(call.event, shown(call.payload))
        return super().handle_topic_info(call)

    def handle_out(self, call):
        mood = call.assigns["mood"]
        if mood == "replace":
            return Decision("replace", {"for": call.member, "secret": call.payload})
        if mood == "replace_with_array":
            return Decision("replace", [1])
        if mood == "fail":
            raise Fail("asked to fail in handle_out")
        if mood == "store":
            call.put("secret", True)
        if mood == "entry":
            Entries(call).put("secret", True)
        if mood == "ask":
            call.push("asked", call.payload)
        return Decision(mood if mood in ("drop", "hand_over") else "pass")

    def terminate(self, call):
        if call.topic == "naughty:last_words":
            call.push("last_words", {"timer": call.ask("send_after", ms=1000, event="timer", payload={})})
        call.broadcast("gone", {"member": call.member, "cause": call["cause"], "detail": call["detail"]})


class Forgiving(Channel):
    route = {"intercepts": ["secret"], "options": {"on-fault": "keep"}}

    def join(self, call):
        call.assigns = {"count": 0, "fails_out": bool(optional(call, "fails_out"))}
        return {}

    def handle_in(self, call):
        if call.event in ("count", "count_and_fail"):
            call.assigns["count"] += 1
        elif call.event == "self_fail":
            call.send_self("fail", {})
        elif call.event == "secret":
            call.broadcast("secret", call.payload)
        else:
            return super().handle_in(call)
        if call.event == "count_and_fail":
            call.broadcast("counted", {})
            raise Fail("asked to fail after it counted")
        return Reply({"count": call.assigns["count"]})

    def handle_info(self, call):
        raise Fail("asked to fail in handle_info")

    def handle_out(self, call):
        if call.assigns["fails_out"]:
            raise Fail("asked to fail in handle_out")
        return Decision("pass")


class Lasting(WithEntries):
    route = {"options": {"room": "durable", "linger-ms": "0"}}

    def join(self, call):
        return {}

    def handle_in(self, call):
        is_entry, answer = self.entry_event(call)
        return answer if is_entry else super().handle_in(call)

    def handle_message(self, call):
        is_entry, answer = self.entry_event(call)
        return answer if is_entry else super().handle_message(call)


class Unruly(WithEntries):
    route = {"options": {"room": "memory", "linger-ms": "100", "tick-faults": "3"}}

    def join(self, call):
        call.assigns = {}
        return {}

    @staticmethod
    def shared(call):
        call.room = call.room or {"count": 0, "ended": [], "mood": "tell", "ballast": ""}
        return call.room

    def count(self, call):
        room = self.shared(call)
        room["count"] += 1
        return Reply({"count": room["count"]})

    def look(self, call):
        room = call.room or {"count": 0, "ended": []}
        return Reply({"count": room["count"], "ended": room["ended"]})

    def handle_in(self, call):
        if call.event in ("count", "look"):
            return getattr(self, call.event)(call)
        if call.event == "tick":
            call.ask("tick", ms=field(call, "ms"))
        elif call.event == "at_tick":
            self.shared(call)["mood"] = field(call, "mood")
        elif call.event == "sit":
            call.ask("take_seat", seat=field(call, "seat"), ms=field(call, "ms"))
        elif call.event == "rise":
            call.ask("leave_seat")
        elif call.event == "publish":
            call.ask("publish_state", state=field(call, "state"))
        elif call.event == "publish_raw":
            call.ask("publish_state", state_text=field(call, "state"))
        elif call.event == "clear":
            call.room = None
        elif call.event == "stop":
            return Stop("asked to")
        elif call.event == "grow":
            self.shared(call)["ballast"] = "x" * (1 << 20)
        elif call.event == "count_and_refuse":
            self.count(call)
            call.ask("publish_state", state={"late": True})
            call.ask("take_seat", seat="late", ms=1000)
            raise Refuse({"reason": "too late"})
        elif call.event == "count_and_fail":
            self.count(call)
            raise Fail("asked to fail after it counted")
        else:
            is_entry, answer = self.entry_event(call)
            return answer if is_entry else super().handle_in(call)
        return OK

    def handle_message(self, call):
        if call.event in ("entry_put", "entry_get", "entry_delete", "entries"):
            return self.entry_event(call)[1]
        if call.event in ("count", "look"):
            return getattr(self, call.event)(call)
        if call.event == "publish":
            call.ask("publish_state", state=field(call, "state"))
            return OK
        return super().handle_message(call)

    def handle_seat(self, call):
        call.broadcast("seat", {"seat": call["seat"], "change": call["change"]})

    def handle_tick(self, call):
        if call.room and call.room["mood"] == "fail":
            raise Fail("asked to fail in handle_tick")
        call.broadcast("beat", {name: call[name] for name in ("number", "missed", "period_ms")})

    def terminate(self, call):
        self.shared(call)["ended"].append(call["cause"])


class UnrulySecond(Unruly):
    """The build that writes version 1 of entries."""

    route = {"options": {**Unruly.route["options"], "entries-version": "1"}}

    def upgrade_entry(self, call):
        if call["key"] == text(b"refused"):
            raise Fail("it refuses this entry")
        return written({"from": call["version"], "was": read(call["value"])})


def kit(command, **host):
    """A host that serves all these topics."""
    return Kit(command, channels(Unruly()), **host)


def reload(kit, version):
    """Reloads the build that writes this version of entries."""
    kit.reload(channels(UnrulySecond() if version else Unruly()))


def channels(unruly):
    return {
        "naughty:*": Naughty(),
        "unruly:*": unruly,
        "public:*": Public(),
        "forgiving:*": Forgiving(),
        "lasting:*": Lasting(),
    }
