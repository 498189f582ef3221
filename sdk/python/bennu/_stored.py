"""Stored data: the store, and the entries of topics."""

import struct
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from ._contract import Interface
from ._contract import entries as host_entries
from ._contract import store as host_store
from ._payload import count, duration, name, parse, text, to_json

#: Keys with their values. The maps have a method `list`, so its name means that within their classes.
Pairs = list[tuple[str, Any]]
BytesPairs = list[tuple[str, bytes]]
Values = list[Any]

#: The length of a value that is absent, in a packed list.
_ABSENT = 2**32 - 1


def _key(key: str) -> bytes:
    return text("a key", key).encode()


def _raw(value: Any) -> bytes:
    if not isinstance(value, (bytes, bytearray)):
        raise TypeError(f"the value must be bytes, and not {type(value).__name__}")
    return bytes(value)


def _json(value: Any) -> bytes:
    return to_json(value).encode()


def _value(value: bytes) -> Any:
    return parse(value.decode())


def _bounds(prefix: str, start: str | None, end: str | None) -> tuple[bytes | None, bytes | None]:
    """The first key of a range, and the first key after it."""
    starts = [] if start is None else [_key(start)]
    ends = [] if end is None else [_key(end)]
    if prefix:
        first = _key(prefix)
        starts.append(first)
        # UTF-8 has no byte 255, so the last byte can be incremented.
        ends.append(first[:-1] + bytes([first[-1] + 1]))
    return max(starts, default=None), min(ends, default=None)


def _packed(items: Iterable[tuple[bytes, ...]]) -> bytes:
    """Makes a packed list, as the contract has it: the lengths of each item's parts, and the parts."""
    packed = bytearray()
    for item in items:
        packed += struct.pack(f"<{len(item)}I", *map(len, item))
        for part in item:
            packed += part
    return bytes(packed)


def _unpacked(packed: bytes, parts: int) -> list[tuple[bytes | None, ...]]:
    """Reads a packed list, of which each item has so many parts."""
    items, at, lengths_of = [], 0, struct.Struct(f"<{parts}I")
    while at < len(packed):
        lengths = lengths_of.unpack_from(packed, at)
        at += lengths_of.size
        item = []
        for length in lengths:
            item.append(None if length == _ABSENT else packed[at : at + length])
            at += 0 if length == _ABSENT else length
        items.append(tuple(item))
    return items


class _Map:
    """An ordered map of the host, from texts to JSON values or bytes."""

    def __init__(self, of: Interface) -> None:
        self._of = of

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, or the default."""
        found = self._of.get(_key(key))
        return default if found is None else _value(found)

    def put(self, key: str, value: Any) -> None:
        """Stores a JSON value. A dataclass is stored as the object of its fields."""
        self._of.put(_key(key), _json(value))

    def delete(self, key: str) -> None:
        """Deletes a key. If there is none, nothing happens."""
        self._of.delete(_key(key))

    def list(self, prefix: str = "", *, start: str | None = None, end: str | None = None, reverse: bool = False, limit: int = 100) -> Pairs:
        """The keys of a range with their values: those that begin with `prefix`, are not before `start`, and are before `end`.

        100, or up to `limit`, which is at most 1,000. It ends early after 1 MiB.
        """
        return [(key.decode(), _value(value)) for key, value in self._scan(prefix, start, end, reverse, limit)]

    def get_bytes(self, key: str) -> bytes | None:
        """The bytes of a key, or None."""
        return self._of.get(_key(key))

    def put_bytes(self, key: str, value: bytes) -> None:
        """Stores bytes as they are."""
        self._of.put(_key(key), _raw(value))

    def list_bytes(
        self, prefix: str = "", *, start: str | None = None, end: str | None = None, reverse: bool = False, limit: int = 100
    ) -> BytesPairs:
        """Like `list`, with the bytes of the values."""
        return [(key.decode(), value) for key, value in self._scan(prefix, start, end, reverse, limit)]

    def _scan(self, prefix: str, start: str | None, end: str | None, reverse: bool, limit: int) -> Any:
        order = self._of.Order.BACKWARD if reverse else self._of.Order.FORWARD
        return self._found(self._of.scan(*_bounds(prefix, start, end), order, count("a limit", limit)))

    def _found(self, found: Any) -> Any:
        return ((each.key, each.value) for each in found)


class Store(_Map):
    """Storage that outlives the host: keys in the order of their bytes, each with a JSON value or with bytes.

    A callback is a transaction, and reads its own writes. A key has 1 to 1,024 bytes, and a value at most 1 MiB. A callback writes at
    most 1,024 keys and 4 MiB. A gatekeeper and `intercept` can only read.
    """

    def put_expiring(self, key: str, value: Any, time: int | timedelta) -> None:
        """Stores a value for a time in milliseconds. After that, no callback sees the key."""
        self._of.put_expiring(_key(key), _json(value), duration("a time", time))


class Entries(_Map):
    """The entries of a topic with a room: an ordered map of JSON values or bytes, each kept on its own.

    They live as long as the room, and are stored if it is `durable`. A key has 1 to 255 bytes, and a value at most 1 MiB. A callback
    writes at most 4,096 entries and 4 MiB. An entry whose key begins with a prefix of `publishes` must be a JSON value, and not null.
    In `intercept`, and in a topic without a room, each function is a fault.
    """

    def get_many(self, keys: Iterable[str]) -> Values:
        """The values of several keys, at most 1,000, in the order of the keys. A value that is missing is None."""
        found = _unpacked(self._of.get_many(_packed((_key(key),) for key in keys)), 1)
        return [None if value is None else _value(value) for (value,) in found]

    def put_many(self, entries: Iterable[tuple[str, Any]]) -> None:
        """Stores several JSON values."""
        self._of.put_many(_packed((_key(key), _json(value)) for key, value in entries))

    def delete_range(self, prefix: str = "", *, start: str | None = None, end: str | None = None, limit: int = 1000) -> int:
        """Deletes up to `limit` entries of a range from its beginning, at most 1,000, and returns their number."""
        return self._of.delete_range(*_bounds(prefix, start, end), count("a limit", limit))

    def follow(self, prefix: str) -> None:
        """The member follows only published entries whose keys begin with such a prefix. At most 64 prefixes. Without a call, it
        follows all."""
        self._of.follow(name("a prefix", prefix))

    def unfollow(self, prefix: str) -> None:
        """The member no longer follows this prefix."""
        self._of.unfollow(name("a prefix", prefix))

    def _found(self, found: Any) -> Any:
        return _unpacked(found, 2)


store = Store(host_store)
entries = Entries(host_entries)
