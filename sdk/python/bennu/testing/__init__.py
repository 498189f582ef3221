"""Native tests of a plugin. `bennu kit` is the host, so its rules are those of a real one."""

import json
from datetime import timedelta
from types import ModuleType
from typing import Any

from .._channel import channels_of
from .._payload import NAMED, duration, pack_any, to_json
from . import _host as _host
from ._actor import Actor, Client, NotJoined
from ._kit import Kit, KitProblem, coded, decoded, fields

__all__ = ["Actor", "Client", "KitProblem", "NotJoined", "Stage"]


class Stage:
    """A host without sockets that serves a plugin: a module with channels, or the channels. Its clock only moves with `advance`.

    `config` is the plugin's configuration, `publish` and `read` are topics that it may use besides its own, and `now` is the time in
    milliseconds since 1970.
    """

    def __init__(
        self,
        *plugin: Any,
        config: dict[str, Any] | None = None,
        publish: list[str] | None = None,
        read: list[str] | None = None,
        now: int | None = None,
    ) -> None:
        self._kit = Kit(_classes(plugin))
        self._kit.do("host", config=config, publish=publish, read=read, now=now)

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the host. It also ends with the test."""
        self._kit.close()

    def client(
        self,
        *,
        user: str | None = None,
        socket_id: str | None = None,
        claims: dict[str, Any] | None = None,
        params: dict[str, Any] | None = None,
        x_headers: list[tuple[str, str]] | None = None,
    ) -> "Client":
        """A new client connects, with what a token or a gatekeeper says about it."""
        return Client(self._kit, self._kit.do("connect", user=user, socket_id=socket_id, claims=claims, params=params, x_headers=x_headers))

    def join(self, topic: str, params: Any = NAMED, /, **fields: Any) -> "Actor":
        """A new client joins a topic. Raises `NotJoined` if it is refused."""
        return self.client().join(topic, params, **fields)

    def advance(self, time: int | timedelta) -> None:
        """Time passes, in milliseconds: timers and schedules fire, deliveries are sent, topics tick, grace periods of seats end."""
        self._kit.do("advance", ms=duration("a time", time))

    def broadcast(self, topic: str, event: str, payload: Any = NAMED, /, **more: Any) -> None:
        """Another program broadcasts an event to a topic."""
        self._kit.do("broadcast", topic=topic, event=event, **fields(pack_any(event, payload, more)))

    def send(self, topic: str, event: str, payload: Any = NAMED, /, **more: Any) -> tuple[str, Any] | None:
        """Another program sends a message to a topic, for its `message`. Returns the status and the response, if there is an answer."""
        answer = self._kit.do("send", topic=topic, event=event, **fields(pack_any(event, payload, more)))
        return answer and (answer["status"], answer["payload"])

    def late_answers(self) -> list[tuple[str, Any]]:
        """The answers to `send` that came after it, in the order of the messages."""
        return [(answer["status"], answer["payload"]) for answer in self._kit.do("late_answers")]

    def tell(self, topic: str, source: str, event: str, payload: Any = NAMED, /, **more: Any) -> None:
        """Tells a topic that a time of a cron line has come (`cron`), or that a generation began to serve (`start`)."""
        self._kit.do("tell", topic=topic, source=source, event=event, **fields(pack_any(event, payload, more)))

    @property
    def schedules(self) -> list[dict[str, Any]]:
        """The plugin's schedules: `topic`, `key`, `due_ms`, `event`, and `given_up` after five faults."""
        return self._kit.do("schedules")

    @property
    def deliveries(self) -> list[dict[str, Any]]:
        """The deliveries that callbacks have asked for. `advance` sends them to the servers of `http`."""
        return self._kit.do("deliveries")

    def http(
        self,
        method: str,
        url: str,
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
        body: str | bytes = "",
        json: Any = None,
        failure: str | None = None,
    ) -> None:
        """Each request by HTTP with this method and URL gets this answer, or this kind of failure, such as `timeout`. Any other one is
        `unreachable`. Nothing is sent."""
        if failure is not None:
            return self._kit.do("http", method=method, url=url, failure=failure)
        pairs = dict(headers or {})
        if json is not None:
            body, pairs = to_json(json), {"content-type": "application/json", **pairs}
        bytes_of = body.encode() if isinstance(body, str) else body
        return self._kit.do(
            "http", method=method, url=url, status=status, headers=list(map(list, pairs.items())), body_base64=coded(bytes_of)
        )

    def tick(self, topic: str, number: int, missed: int = 0, *, period_ms: int) -> None:
        """A tick of the test's choice."""
        self._kit.do("tick", topic=topic, number=number, missed=missed, period_ms=period_ms)

    def disconnect(self, socket_id: str) -> int:
        """Closes every socket with this id. Returns their number."""
        return self._kit.do("disconnect", socket_id=socket_id)

    def presences(self, topic: str) -> dict[str, Any]:
        """Who is online in a topic: `{KEY: {"metas": [..]}}`."""
        return self._kit.do("presences", topic=topic)

    def stored(self, key: str) -> Any:
        """The JSON value of a key in the plugin's store, or None."""
        value = decoded(self._kit.do("get", key=coded(key.encode())))
        return None if value is None else json.loads(value)

    def put(self, key: str, value: Any) -> None:
        """Writes a JSON value to the plugin's store."""
        self._kit.do("put", key=coded(key.encode()), value=coded(to_json(value).encode()))

    @property
    def faults(self) -> list[dict[str, str]]:
        """All faults so far: `kind` and `detail`."""
        return self._kit.do("faults")

    def reload(self, *plugin: Any) -> None:
        """Another build replaces the plugin. Members and rooms stay."""
        self._kit.serve(_classes(plugin))


def _classes(plugin: tuple[Any, ...]) -> list[Any]:
    return [cls for part in plugin for cls in (channels_of(part) if isinstance(part, ModuleType) else [part])]
