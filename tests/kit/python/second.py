"""The build of `naughty` that writes version 1 of entries."""

from typing import Any

from bennu import channel
from naughty import Forgiving, Naughty
from naughty_events import fail
from naughty_rooms import UNRULY, Lasting, Public, UnrulyEvents

__all__ = ["Forgiving", "Lasting", "Naughty", "Public", "Unruly"]


@channel("unruly:*", **UNRULY, entries_version=1)
class Unruly(UnrulyEvents):
    @staticmethod
    def upgrade_entry(value: Any, version: int, key: str, topic: str):
        if key == "refused":
            fail("it refuses this entry")
        return {"from": version, "was": value}
