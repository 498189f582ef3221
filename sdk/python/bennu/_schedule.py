"""Schedules: events that come to a topic's `topic_info` later."""

from datetime import datetime, timedelta
from typing import Any

from ._contract import host
from ._contract import schedule as host_schedule
from ._payload import NAMED, count, duration, name, pack_any


class Schedule:
    """Schedules are stored, and survive a restart of the host. A plugin has them for the topics of its own channels."""

    def at(self, topic: str, time: int | datetime, key: str, event: str, payload: Any = NAMED, /, **fields: Any) -> None:
        """The event comes at a time: a `datetime` with a zone, or milliseconds since 1970. It replaces an earlier schedule with the same
        topic and key."""
        if isinstance(time, datetime):
            if time.tzinfo is None:
                raise ValueError("a time needs a zone, such as `datetime.now(timezone.utc)`")
            time = round(time.timestamp() * 1000)
        host_schedule.schedule(name("a topic", topic), count("a time", time), name("a key", key), event, pack_any(event, payload, fields))

    def after(self, topic: str, delay: int | timedelta, key: str, event: str, payload: Any = NAMED, /, **fields: Any) -> None:
        """The event comes after a time in milliseconds."""
        self.at(topic, host.now() + duration("a time", delay), key, event, payload, **fields)

    def cancel(self, topic: str, key: str) -> None:
        """Cancels a schedule. If there is none, nothing happens."""
        host_schedule.cancel_schedule(name("a topic", topic), name("a key", key))

    def due(self, topic: str, key: str) -> int | None:
        """When a schedule is due, in milliseconds since 1970, if there is one."""
        return host_schedule.get(name("a topic", topic), name("a key", key))


schedule = Schedule()
