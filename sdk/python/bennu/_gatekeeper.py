"""Gatekeepers: plugins that decide about connections."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ._contract import request as host_request
from ._payload import parse


@dataclass(frozen=True)
class Identity:
    """Who a socket is. It doesn't change while the socket is connected."""

    #: The user's name, which channels read as `socket.user`. At most 255 bytes.
    user: str | None = None
    #: The id by which the socket can be disconnected, such as `user_socket:42`. Several sockets may have the same. At most 255 bytes.
    socket_id: str | None = None
    #: More data for channels, which they read as `socket.claims`. At most 16 KiB as JSON.
    claims: dict[str, Any] = field(default_factory=dict)


class ConnectRequest:
    """The request of a client that wants to connect."""

    @property
    def params(self) -> dict[str, Any]:
        """The parameters of the request. Parameters such as `a[b]=c` are nested."""
        return parse(host_request.params())

    @property
    def headers(self) -> list[tuple[str, str]]:
        """All headers, with names in lower case."""
        return host_request.headers()

    def header(self, name: str) -> str | None:
        """The first header with this name."""
        return next((value for key, value in self.headers if key == name.lower()), None)

    @property
    def auth_token(self) -> str | None:
        """phoenix.js's `authToken`, if the mount accepts one."""
        return host_request.auth_token()

    @property
    def peer(self) -> Any:
        """The address that the request comes from: `ip` and `port`. Behind a proxy it is the proxy's."""
        return host_request.peer()

    @property
    def uri(self) -> Any:
        """The address that the client requested: `scheme`, `host`, `port`, `path`, `query`. `query` isn't decoded."""
        return host_request.uri()

    @property
    def mount(self) -> str:
        """The path of the mount, such as `/socket`."""
        return host_request.mount()

    @property
    def transport(self) -> str:
        """`websocket` or `longpoll`."""
        return host_request.transport()


class Forbidden(Exception):
    """A client that may not connect."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status} {body}")
        self.status, self.body = status, body


def forbid(status: int = 403, body: str = "") -> NoReturn:
    """Refuses the connection, with an HTTP status from 400 to 599. Over long-poll the client always gets 403."""
    if not isinstance(status, int) or not 400 <= status <= 599:
        raise ValueError(f"a status is a number from 400 to 599, and not {status!r}")
    raise Forbidden(status, str(body))


Connect = Callable[[ConnectRequest], Identity]


def gatekeeper(connect: Connect) -> Connect:
    """Makes a function the gatekeeper of a plugin. It returns who the client is; `forbid` keeps it out.

    An exception refuses the client with the status 500, and an invalid token with 403. A gatekeeper has a file of its own, and can only
    read the store.
    """
    connect._bennu_gatekeeper = True  # type: ignore[attr-defined]
    return connect


def gatekeepers_of(source: Any) -> list[Connect]:
    """The gatekeepers that a module has."""
    return [it for it in vars(source).values() if getattr(it, "_bennu_gatekeeper", False) is True and callable(it)]
