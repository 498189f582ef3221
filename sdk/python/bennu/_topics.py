"""Topics that the plugin may read about: its own, and those that `plugins.NAME.read` grants. Any other topic is a fault."""

from dataclasses import dataclass
from typing import Any

from ._contract import presence as host_presence
from ._contract import topics as host_topics
from ._payload import count as number
from ._payload import name, parse, text


@dataclass(frozen=True)
class Person:
    """A member of a topic."""

    #: The number of the member, for `send_member`.
    member: int
    user: str | None
    socket_id: str | None


def presences(topic: str) -> dict[str, Any]:
    """The presences of a topic, by key, without the effects of the running callback: `{KEY: {"metas": [..]}}`."""
    return parse(host_presence.list(name("a topic", topic)))


def presence(topic: str, key: str) -> list[dict[str, Any]]:
    """The metas of one key of a topic. Empty if the key has no presence."""
    found = host_presence.get(name("a topic", topic), name("a key", key))
    return [] if found is None else (parse(found) or {}).get("metas", [])


def count(topic: str) -> int:
    """The number of a topic's members.

    In a cluster, members at other nodes count as they were about a second before. So if a join compares the number with a limit, a
    topic can get more members than that.
    """
    return host_topics.count(name("a topic", topic))


def members(topic: str, limit: int = 1000) -> list[Person]:
    """Up to so many members of a topic, at most 1,000, in no particular order.

    In a cluster, the call may wait up to 250 ms for other nodes, and the members at a node that hasn't answered then are missing.
    """
    found = host_topics.members(name("a topic", topic), number("a limit", limit))
    return [Person(each.member, each.user, each.socket_id) for each in found]


def under(prefix: str, after: str | None = None, limit: int = 1000) -> list[tuple[str, int]]:
    """The topics that begin with a prefix and have members, in the order of their bytes, each with the number of its members: after
    `after`, and at most 1,000."""
    return [(each.name, each.members) for each in host_topics.under(text("a prefix", prefix), after, number("a limit", limit))]
