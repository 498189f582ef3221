"""The events of `naughty` about schedules. guest-examples/naughty/src/timed.rs describes them."""

from bennu_kit import Channel, Fail, Refuse, Reply
from entry_events import field


class Timed(Channel):
    EVENTS = (
        "schedule", "schedule_then_fail", "schedule_then_refuse", "unschedule", "is_scheduled", "schedule_own", "schedule_elsewhere", "schedule_many",
        "wait_for_answer", "give_answer"
    )

    def schedule(self, call, key, ms, event="ring", payload=None, topic=None):
        at_ms = call.ask("now") + ms
        payload = {} if payload is None else payload
        call.ask("schedule", topic=topic or call.topic, key=key, at_ms=at_ms, event=event, payload=payload)

    def is_there(self, call, key):
        return call.ask("schedule_due", topic=call.topic, key=key) is not None

    def on_schedule(self, call):
        given = call.payload
        self.schedule(call, field(call, "key"), field(call, "ms"), given.get("event", "ring"), given.get("payload"))
        call.put(f"asked:{given['key']}", True)
        return Reply()

    def on_schedule_then_fail(self, call):
        self.on_schedule(call)
        raise Fail("asked to fail after a schedule")

    def on_schedule_then_refuse(self, call):
        self.on_schedule(call)
        raise Refuse({"reason": "too late"})

    def on_unschedule(self, call):
        call.ask("cancel_schedule", topic=call.topic, key=field(call, "key"))
        return Reply()

    def on_is_scheduled(self, call):
        return Reply({"is": self.is_there(call, field(call, "key"))})

    def on_schedule_own(self, call):
        key = field(call, "key")
        seen = [self.is_there(call, key)]
        for ms in (60_000, 90_000):
            self.schedule(call, key, ms)
            seen.append(self.is_there(call, key))
        call.ask("cancel_schedule", topic=call.topic, key=key)
        return Reply([*seen, self.is_there(call, key)])

    def on_schedule_elsewhere(self, call):
        self.schedule(call, "key", 0, topic="elsewhere:1")
        return Reply()

    def on_schedule_many(self, call):
        for key in range(field(call, "count")):
            self.schedule(call, str(key), field(call, "ms"))
        return Reply()

    def on_wait_for_answer(self, call):
        call.put(f"waiting:{call.topic}", call.ask("answer_ref"))
        call.broadcast("asked", {})

    def on_give_answer(self, call):
        waiting = call.get(f"waiting:{field(call, 'to')}")
        if waiting is not None:
            call.ask("answer", ref=waiting, payload=field(call, "value"))
        return Reply({"was_waiting": waiting is not None})

    def handle_topic_info(self, call):
        key, given = call["key"], call.payload
        if call.event == "fail":
            raise Fail("asked to fail in handle_topic_info")
        if call.event == "fail_at_first" and call.ask("now") < call["due_ms"] + given["ms"]:
            raise Fail("asked to fail at first in handle_topic_info")
        if call.event == "again":
            self.schedule(call, key, given["ms"])
        counter = f"rung:{key or call['source']}"
        times = (call.get(counter) or 0) + 1
        call.put(counter, times)
        rung = {"source": call["source"], "key": key, "event": call.event, "payload": given, "times": times}
        call.broadcast("rung", rung)
