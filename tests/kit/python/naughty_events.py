"""The events about entries, schedules and requests, of members and of topic messages."""

from typing import Any

from bennu import HttpFailure, Topic, entries, http, now, refuse, reply, schedule, store
from naughty_tables import Handler

OK: dict[str, Any] = {}
MIB = 1 << 20


def fail(why: str) -> Any:
    raise RuntimeError(why)


def value_or_null(value: Any) -> Any:
    """An answer, also if the value is null: without a result there is no answer."""
    return reply("ok", value)


def field(payload: Any, name: str) -> Any:
    """A field that must be there."""
    if not isinstance(payload, dict) or name not in payload:
        refuse(f"{name}: missing")
    return payload[name]


def scanned(of: Any, payload: Any) -> list[tuple[str, Any]]:
    after = payload.get("after")
    return of.list(
        field(payload, "prefix"),
        start=None if after is None else f"{after}\0",
        end=payload.get("before"),
        reverse=bool(payload.get("backward")),
        limit=payload.get("limit", 1000),
    )


def own(of: Any, key: str) -> list[Any]:
    """What a callback reads of a key between its own writes."""
    read = [of.get(key)]
    of.put(key, 1)
    read.append(of.get(key))
    of.delete(key)
    read.append(of.get(key))
    of.put(key, 2)
    return [*read, of.get(key)]


def entry_put(payload: Any, topic: Topic) -> Any:
    entries.put(field(payload, "key"), field(payload, "value"))
    return OK


def entry_delete(payload: Any, topic: Topic) -> Any:
    entries.delete(field(payload, "key"))
    return OK


def entries_put(payload: Any, topic: Topic) -> Any:
    entries.put_many(field(payload, "entries"))
    return OK


def entry_read_then_fail(payload: Any, topic: Topic) -> Any:
    entries.get(field(payload, "key"))
    fail("asked to fail after a read")


def entry_then_fail(payload: Any, topic: Topic) -> Any:
    entry_put(payload, topic)
    fail("asked to fail after a put")


def entry_then_refuse(payload: Any, topic: Topic) -> Any:
    entry_put(payload, topic)
    refuse("too late")


def entry_after_discard(payload: Any, topic: Topic) -> Any:
    topic.discard()
    entry_put(payload, topic)


def entries_much(payload: Any, topic: Topic) -> Any:
    for number in range(5):
        entries.put(f"ballast/{number}", "x" * 1_000_000)


def store_put(payload: Any, topic: Topic) -> Any:
    store.put(field(payload, "key"), field(payload, "value"))
    return OK


ENTRIES: dict[str, Handler] = {
    "entry_put": entry_put,
    "entry_get": lambda payload, _: value_or_null(entries.get(field(payload, "key"))),
    "entry_delete": entry_delete,
    "entries": lambda payload, _: scanned(entries, payload),
    "entries_put": entries_put,
    "entries_get": lambda payload, _: entries.get_many(field(payload, "keys")),
    "entries_clear": lambda payload, _: {"deleted": entries.delete_range(limit=field(payload, "limit"))},
    "entries_own": lambda payload, _: own(entries, field(payload, "key")),
    "entry_read_then_fail": entry_read_then_fail,
    "entry_then_fail": entry_then_fail,
    "entry_then_refuse": entry_then_refuse,
    "entry_after_discard": entry_after_discard,
    "entry_no_key": lambda *_: entries.put("", 1),
    "entry_long_key": lambda *_: entries.put("k" * 256, 1),
    "entry_long_value": lambda *_: entries.put_bytes("ballast/k", bytes(MIB + 1)),
    "entries_many": lambda *_: entries.put_many((f"many/{number}", number) for number in range(4097)),
    "entries_much": entries_much,
    "entries_get_many": lambda *_: entries.get_many(map(str, range(1001))),
}


def is_there(topic: Topic, key: str) -> bool:
    return schedule.due(topic.topic, key) is not None


def schedule_one(payload: Any, topic: Topic) -> Any:
    key = payload["key"]
    schedule.after(topic.topic, payload["ms"], key, payload.get("event", "ring"), payload.get("payload", {}))
    store.put(f"asked:{key}", True)
    return OK


def schedule_then_fail(payload: Any, topic: Topic) -> Any:
    schedule_one(payload, topic)
    fail("asked to fail after a schedule")


def schedule_then_refuse(payload: Any, topic: Topic) -> Any:
    schedule_one(payload, topic)
    refuse("too late")


def unschedule(payload: Any, topic: Topic) -> Any:
    schedule.cancel(topic.topic, payload["key"])
    return OK


def schedule_own(payload: Any, topic: Topic) -> Any:
    key = payload["key"]
    seen = [is_there(topic, key)]
    for ms in (60_000, 90_000):
        schedule.after(topic.topic, ms, key, "ring")
        seen.append(is_there(topic, key))
    schedule.cancel(topic.topic, key)
    return [*seen, is_there(topic, key)]


def schedule_many(payload: Any, topic: Topic) -> Any:
    for key in range(payload["count"]):
        schedule.after(topic.topic, payload["ms"], str(key), "ring")
    return OK


def give_answer(payload: Any, topic: Topic) -> Any:
    waiting = store.get(f"waiting:{payload['to']}")
    if waiting:
        topic.answer(waiting, payload.get("value"))
    return {"was_waiting": bool(waiting)}


TIMED: dict[str, Handler] = {
    "schedule": schedule_one,
    "schedule_then_fail": schedule_then_fail,
    "schedule_then_refuse": schedule_then_refuse,
    "unschedule": unschedule,
    "is_scheduled": lambda payload, topic: {"is": is_there(topic, payload["key"])},
    "schedule_own": schedule_own,
    "schedule_elsewhere": lambda *_: schedule.after("elsewhere:1", 0, "key", "ring"),
    "schedule_many": schedule_many,
    "give_answer": give_answer,
}


def shown(payload: Any) -> Any:
    """An answer by HTTP for a client."""
    return {"failure": payload["failure"]} if "failure" in payload else {"status": payload["status"], "body": payload["body"]}


def http_send(payload: Any, topic: Topic) -> Any:
    http.request("http_answer", field(payload, "url"), body=payload.get("body", ""))
    return OK


def http_get(payload: Any, topic: Topic) -> Any:
    """Asks by HTTP, so many times. Returns the last answer for a client."""
    answer: dict[str, Any] = {}
    for _ in range(payload.get("times", 1)):
        try:
            got = http.get(payload["url"], method=payload.get("method", "GET"))
            answer = {"status": got.status, "body": got.text()}
        except HttpFailure as problem:
            answer = {"failure": problem.kind}
    return answer


def deliver(payload: Any, topic: Topic) -> Any:
    """Delivers a request, so many times."""
    options = {"headers": dict(payload.get("headers", [])), "body": payload.get("body", ""), "order": payload.get("order")}
    options |= {"expires": payload.get("expires_ms"), "on_failure": payload.get("on_failure")}
    length = 0
    for _ in range(payload.get("times", 1)):
        length = len(http.deliver(payload["url"], **options))
    store.put(f"delivered:{payload.get('body', '')}", True)
    return {"length": length}


def deliver_then_fail(payload: Any, topic: Topic) -> Any:
    deliver(payload, topic)
    fail("asked to fail after a delivery")


HTTP: dict[str, Handler] = {"http_get": http_get, "http_send": http_send, "deliver": deliver}


def unknown(payload: Any, topic: Topic):
    refuse(f'unknown event "{topic.message.event}"')


def wait_for_answer(payload: Any, topic: Topic) -> Any:
    store.put(f"waiting:{topic.topic}", topic.answer_ref)
    topic.broadcast("asked")


def told(payload: Any, topic: Topic) -> Any:
    """What the host tells the topic."""
    about = topic.message
    if about.event == "fail":
        fail("asked to fail in handle_topic_info")
    if about.event == "fail_at_first" and now() < (about.due or 0) + payload["ms"]:
        fail("asked to fail at first in handle_topic_info")
    if about.event == "again":
        schedule.after(topic.topic, payload["ms"], about.key or "", "ring")
    counter = f"rung:{about.key or about.source}"
    times = store.get(counter, 0) + 1
    store.put(counter, times)
    topic.broadcast("rung", source=about.source, key=about.key, event=about.event, payload=payload, times=times)
