"""The contract's imports, each as a line to `bennu kit`."""

import json
from collections import namedtuple
from collections.abc import Callable
from enum import Enum
from typing import Any

from .. import _contract
from .._stored import _packed, _unpacked
from . import _kit
from ._kit import Err, ask, coded, decoded, fields

Header = namedtuple("Header", "name value")
Response = namedtuple("Response", "status headers body")
Failure = namedtuple("Failure", "kind detail")
Entry = namedtuple("Entry", "key value")
Person = namedtuple("Person", "member user socket_id")
Topic = namedtuple("Topic", "name members")
Order = Enum("Order", "FORWARD BACKWARD")
Level = Enum("Level", "TRACE DEBUG INFO WARN ERROR")
Problem = Enum("Problem", "MISSING INVALID EXPIRED")


def _sends(what: str) -> Callable[..., Any]:
    return lambda event, payload: ask(what, event=event, **fields(payload))


def _sends_to(what: str) -> Callable[..., Any]:
    return lambda topic, event, payload: ask(what, topic=topic, event=event, **fields(payload))


def _of_socket(name: str) -> Callable[[], Any]:
    return lambda: ask("socket")[name]


def _range(start: bytes | None, end: bytes | None) -> dict[str, Any]:
    return {"start": coded(start), "end": coded(end)}


def _scan(what: str, start: bytes | None, end: bytes | None, order: Order, limit: int) -> list[tuple[bytes, bytes]]:
    found = ask(what, **_range(start, end), backward=order is Order.BACKWARD, limit=limit)
    return [(decoded(key) or b"", decoded(value) or b"") for key, value in found]


def _asked(headers: Any, settings: Any) -> dict[str, Any]:
    """The fields of a request by HTTP."""
    as_number = ("timeout_ms", "expires_ms")
    named = {setting.name.replace("-", "_"): setting.value for setting in settings}
    return {
        "headers": [list(header) for header in headers],
        **{key: int(value) if key in as_number else value for key, value in named.items()},
    }


def _http_get(method: str, url: str, headers: Any, settings: Any) -> Response:
    answer = ask("http_get", method=method, url=url, **_asked(headers, settings))
    if "failure" in answer:
        raise Err(Failure(answer["failure"], answer["detail"]))
    body = answer["body"].encode() if "body" in answer else decoded(answer["body_base64"])
    return Response(answer["status"], [Header(*header) for header in answer["headers"]], body)


def _verify(salt: str, token: str, max_age: int | None) -> str:
    answer = ask("verify", salt=salt, token=token, max_age=max_age)
    if "problem" in answer:
        raise Err(Problem[answer["problem"].upper()])
    return json.dumps(answer["value"])


def _reply(what: str) -> Callable[..., Any]:
    return lambda ref, reply: ask(what, ref=ref, status=reply.status, **fields(reply.payload))


def _fired(name: str) -> Callable[[], Any]:
    return lambda: _kit.running.fired.get(name) if _kit.running else None


def _presence(topic: str, key: str) -> str | None:
    found = ask("presence", topic=topic, key=key)
    return None if found is None else json.dumps(found)


def _no_request(name: str) -> Callable[[], Any]:
    def refused() -> Any:
        raise RuntimeError("`bennu kit` has no gatekeepers; test one on a running host")

    return refused


_FUNCTIONS: dict[str, dict[str, Any]] = {
    "host": {
        "Level": Level,
        "now": lambda: ask("now"),
        "unique_id": lambda: ask("unique_id"),
        "random": lambda: int(ask("random")),
        "configuration": lambda: json.dumps(ask("configuration")),
        "log": lambda level, message: ask("log", level=level.name.lower(), message=message),
    },
    "member": {
        "user": _of_socket("user"),
        "socket_id": _of_socket("socket_id"),
        "claims": lambda: json.dumps(ask("socket")["claims"]),
        "connect_params": lambda: json.dumps(ask("socket")["params"]),
        "join_ref": lambda: json.dumps(ask("socket")["join_ref"]),
        "transport": _of_socket("transport"),
        "x_headers": lambda: [tuple(header) for header in ask("socket")["x_headers"]],
    },
    "request": {name: _no_request(name) for name in ("mount", "transport", "params", "headers", "peer", "uri", "auth_token")},
    "topics": {
        "count": lambda topic: ask("count", topic=topic),
        "members": lambda topic, limit: [
            Person(each["member"], each.get("user"), each.get("socket_id")) for each in ask("members", topic=topic, limit=limit)
        ],
        "under": lambda prefix, after, limit: [Topic(*each) for each in ask("topics", prefix=prefix, after=after, limit=limit)],
        "answer_ref": lambda: ask("answer_ref"),
    },
    "token": {
        "sign": lambda salt, value, max_age: ask("sign", salt=salt, value=json.loads(value), max_age=max_age),
        "verify": _verify,
    },
    "presence": {
        "list": lambda topic: json.dumps(ask("presences", topic=topic)),
        "get": _presence,
        "track": lambda key, meta: ask("track", key=key, meta_text=meta),
        "update": lambda key, meta: ask("update_presence", key=key, meta_text=meta),
        "untrack": lambda key: ask("untrack", key=key),
        "push_state": lambda: ask("push_presences"),
    },
    "store": {
        "Order": Order,
        "get": lambda key: decoded(ask("get", key=coded(key))),
        "scan": lambda *given: [Entry(*each) for each in _scan("scan", *given)],
        "put": lambda key, value: ask("put", key=coded(key), value=coded(value)),
        "put_expiring": lambda key, value, ms: ask("put_expiring", key=coded(key), value=coded(value), ms=ms),
        "delete": lambda key: ask("delete", key=coded(key)),
    },
    "entries": {
        "Order": Order,
        "get": lambda key: decoded(ask("entry_get", key=coded(key))),
        "get_many": lambda keys: _packed_values(ask("entries_get", keys=[coded(key) for (key,) in _unpacked(keys, 1)])),
        "scan": lambda *given: _packed(_scan("entry_scan", *given)),
        "put": lambda key, value: ask("entry_put", key=coded(key), value=coded(value)),
        "put_many": lambda all: ask("entries_put", entries=[[coded(key), coded(value)] for key, value in _unpacked(all, 2)]),
        "delete": lambda key: ask("entry_delete", key=coded(key)),
        "delete_range": lambda start, end, limit: ask("entries_delete_range", **_range(start, end), limit=limit),
        "follow": lambda prefix: ask("follow", prefix=prefix),
        "unfollow": lambda prefix: ask("unfollow", prefix=prefix),
    },
    "schedule": {
        "schedule": lambda topic, at, key, event, payload: ask("schedule", topic=topic, at_ms=at, key=key, event=event, **fields(payload)),
        "cancel_schedule": lambda topic, key: ask("cancel_schedule", topic=topic, key=key),
        "get": lambda topic, key: ask("schedule_due", topic=topic, key=key),
        "due": _fired("due_ms"),
        "key": _fired("key"),
    },
    "http": {
        "Header": Header,
        "get": _http_get,
        "request": lambda key, method, url, headers, body, settings: ask(
            "http_request", key=key, method=method, url=url, body=body.decode(), **_asked(headers, settings)
        ),
        "deliver": lambda url, headers, body, settings: ask("http_deliver", url=url, body_base64=coded(body), **_asked(headers, settings)),
    },
    "socket": {
        **{name: _sends(name) for name in ("push", "broadcast", "broadcast_from", "send_self")},
        **{name: _sends_to(name) for name in ("publish", "send")},
        "send_member": lambda topic, member, event, payload: ask("send_member", topic=topic, member=member, event=event, **fields(payload)),
        "push_to_socket": lambda topic, socket_id, event, payload: ask(
            "push_to_socket", topic=topic, socket_id=socket_id, event=event, **fields(payload)
        ),
        "discard": lambda: ask("discard"),
        "subscribe": lambda topic: ask("subscribe", topic=topic),
        "unsubscribe": lambda topic: ask("unsubscribe", topic=topic),
        "disconnect": lambda socket_id: ask("disconnect", socket_id=socket_id),
        "reply": _reply("reply"),
        "answer": _reply("answer"),
        "send_after": lambda ms, event, payload: ask("send_after", ms=ms, event=event, **fields(payload)),
        "cancel": lambda timer: ask("cancel", timer=timer),
        "publish_state": lambda state: ask("publish_state", state_text=state),
        "take_seat": lambda seat, ms: ask("take_seat", seat=seat, ms=ms),
        "leave_seat": lambda: ask("leave_seat"),
        "tick": lambda ms: ask("tick", ms=ms),
    },
    "droppable": {
        "broadcast_droppable": lambda key, event, payload: ask("broadcast_droppable", key=key, event=event, **fields(payload)),
        "broadcast_from_droppable": lambda key, event, payload: ask("broadcast_from_droppable", key=key, event=event, **fields(payload)),
        "publish_droppable": lambda topic, key, event, payload: ask(
            "publish_droppable", topic=topic, key=key, event=event, **fields(payload)
        ),
    },
}


def _packed_values(values: list[str | None]) -> bytes:
    """A packed list of values, of which some are absent."""
    return b"".join(b"\xff\xff\xff\xff" if value is None else _packed([(decoded(value) or b"",)]) for value in values)


for interface, functions in _FUNCTIONS.items():
    vars(_contract.INTERFACES[interface]).update(functions)
