"""Requests by HTTP to the URLs that the operator grants."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from . import _contract
from ._channel import Refusal
from ._contract import http as host_http
from ._payload import duration, name, parse, text, to_json


class HttpFailure(Refusal):
    """There is no answer. If a callback doesn't catch it, the client gets an `error` reply, `{"reason": "unavailable"}`, and the member
    stays."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__({"reason": "unavailable"})
        #: `busy`, `timeout`, `too-large`, `unreachable`, `broken` or `redirect`. Later hosts may add kinds.
        self.kind = kind
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"


@dataclass(frozen=True)
class HttpResponse:
    """An answer, with any status."""

    status: int
    #: The headers, with names in lower case. If a header comes more than once, this is the last one.
    headers: dict[str, str]
    #: The body, decoded.
    body: bytes = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether the status is from 200 to 299."""
        return 200 <= self.status < 300

    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return parse(self.text())


@dataclass(frozen=True)
class PushKeys:
    """The keys of a browser's subscription to push messages."""

    p256dh: str
    auth: str


def _headers(headers: dict[str, str] | None) -> list[Any]:
    return [host_http.Header(text("a header", key), str(value)) for key, value in (headers or {}).items()]


def _settings(**settings: Any) -> list[Any]:
    return [_contract.types.Setting(key.replace("_", "-"), str(value)) for key, value in settings.items() if value is not None]


def _time(timeout: int | timedelta | None) -> int | None:
    return None if timeout is None else duration("a timeout", timeout)


def _content(headers: dict[str, str] | None, body: str | bytes, json: Any) -> tuple[list[Any], bytes]:
    if json is not None:
        body, headers = to_json(json), {"content-type": "application/json", **(headers or {})}
    if not isinstance(body, (str, bytes, bytearray)):
        raise TypeError(f"a body must be a string or bytes, and not {type(body).__name__}; use `json` for other values")
    return _headers(headers), body.encode() if isinstance(body, str) else bytes(body)


class Http:
    """Requests by HTTP. A URL must be granted by `plugins.NAME.http`; any other URL is a fault."""

    def get(
        self, url: str, *, method: str = "GET", headers: dict[str, str] | None = None, timeout: int | timedelta | None = None
    ) -> HttpResponse:
        """Waits for the answer of a server. Raises `HttpFailure` if there is none. The method is `GET` or `HEAD`, and the timeout is in
        milliseconds, at most 3,000."""
        try:
            answer = host_http.get(text("a method", method), text("a URL", url), _headers(headers), _settings(timeout_ms=_time(timeout)))
        except _contract.types.Err as problem:
            raise HttpFailure(problem.value.kind, problem.value.detail) from None
        return HttpResponse(answer.status, {header.name: header.value for header in answer.headers}, answer.body)

    def request(
        self,
        key: str,
        url: str,
        *,
        method: str = "POST",
        headers: dict[str, str] | None = None,
        body: str | bytes = "",
        json: Any = None,
        timeout: int | timedelta | None = None,
    ) -> None:
        """Sends a request after the callback has succeeded, at most once. This member's `info` gets the answer as the event `key`:
        `status`, `headers`, `body`; or `failure`, `detail`. In a callback of a topic, such as `message`, `topic_info` gets it. The
        timeout is in milliseconds, at most 30,000."""
        pairs, content = _content(headers, body, json)
        host_http.request(
            name("a key", key), text("a method", method), text("a URL", url), pairs, content, _settings(timeout_ms=_time(timeout))
        )

    def deliver(
        self,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        body: str | bytes = "",
        json: Any = None,
        order: str | None = None,
        expires: int | timedelta | None = None,
        on_failure: str | None = None,
        push: PushKeys | None = None,
    ) -> str:
        """Sends a `POST` after the callback has succeeded, until the server accepts it with a status from 200 to 299.

        It is stored with the other writes of the callback, and survives a restart of the host. The server may receive it more than
        once, with the same header `webhook-id`. Returns this id. Deliveries of the plugin with the same `order` are sent one after the
        other. `expires` is the time after which it is given up, in milliseconds: a day by default, at most a week. `on_failure` is an
        event: if the delivery is refused or given up, the topic's `topic_info` gets it, with `delivery` (the id), `url`, `status` (None
        without an answer) and `reason`. With `push`, the URL is the endpoint of a browser's subscription, and the host encrypts the body.
        """
        pairs, content = _content(headers, body, json)
        expires_ms = None if expires is None else duration("a time", expires)
        for what, given in (("an order key", order), ("an event", on_failure)):
            if given is not None:
                name(what, given)
        keys = {} if push is None else {"push_p256dh": push.p256dh, "push_auth": push.auth}
        return host_http.deliver(
            text("a URL", url), pairs, content, _settings(order=order, expires_ms=expires_ms, on_failure=on_failure, **keys)
        )


http = Http()
