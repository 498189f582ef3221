"""Channels for Bennu in Python: a class is a channel, its fields are a member's state, and its methods are callbacks."""

from typing import Any

from . import _topics as topics
from ._channel import (
    Message,
    Recipient,
    Refusal,
    Reply,
    Stop,
    Tick,
    channel,
    drop,
    hand_over,
    info,
    intercept,
    message,
    on,
    refuse,
    reply,
    stop,
    topic_info,
)
from ._contract import host as _host
from ._gatekeeper import ConnectRequest, Forbidden, Identity, forbid, gatekeeper
from ._http import HttpFailure, HttpResponse, PushKeys, http
from ._payload import parse as _parse
from ._schedule import schedule
from ._stored import entries, store
from ._token import TokenProblem, token
from ._topic import Payload, Socket, Topic
from ._topics import Person

__all__ = [
    "ConnectRequest", "Forbidden", "HttpFailure", "HttpResponse", "Identity", "Message", "Payload", "Person", "PushKeys", "Recipient",
    "Refusal", "Reply", "Socket", "Stop", "Tick", "TokenProblem", "Topic", "channel", "config", "drop", "entries", "forbid",
    "gatekeeper", "hand_over", "http", "info", "intercept", "message", "now", "on", "refuse", "reply", "schedule", "stop", "store",
    "token", "topic_info", "topics", "unique_id",
]  # fmt: skip

__version__ = "0.1.0"


def now() -> int:
    """The host's time, in milliseconds since 1970."""
    return _host.now()


def unique_id() -> str:
    """An id of 20 characters that no other call gets, on this host or on any node of its cluster.

    Ids sort in the order in which they were created. Two ids that two nodes create at about the same time may sort in either order.
    """
    return _host.unique_id()


def config() -> dict[str, Any]:
    """The plugin's configuration: the table `plugins.NAME.config`, or an empty one."""
    return _parse(_host.configuration())
