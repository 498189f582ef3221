"""States that the host keeps, of members and of topics."""

from typing import Any

from ._payload import fields_of, parse, to_json
from ._values import Mismatch, read_fields


class CallState:
    """A state of one call: read when it is first asked for, and given back if it is another one then."""

    __slots__ = ("_before", "_cls", "_is_cleared", "_is_read", "_value")

    def __init__(self, cls: Any, before: bytes | None) -> None:
        self._cls, self._before, self._value = cls, before or None, None
        self._is_read = self._is_cleared = False

    def get(self) -> Any:
        if not self._is_read:
            self._value, self._is_read = self._read(), True
        return self._value

    def set(self, value: Any) -> None:
        if not isinstance(value, self._cls):
            raise TypeError(f"the state must be a {self._cls.__name__}, and not {type(value).__name__}")
        self._value, self._is_read, self._is_cleared = value, True, False

    def clear(self) -> None:
        """Deletes the state. The next callback gets the first one again."""
        self._value, self._is_read, self._is_cleared = self._cls(), True, True

    def _read(self) -> Any:
        if self._before is None:
            return self._cls()
        try:
            return read_fields(self._cls, parse(self._before.decode()))
        except Mismatch as mismatch:
            raise TypeError(
                f"a state of {self._cls.__name__} that another build wrote can't be read: {mismatch}; write an upgrade"
            ) from None

    def changed(self) -> bytes | None:
        """The bytes of the state, if it has changed. No bytes delete it."""
        if not self._is_read:
            return None
        after = encoded(self._value)
        if self._is_cleared and after == encoded(self._cls()):
            return b""
        return None if after == self._before else after


def encoded(state: Any) -> bytes:
    """The bytes of a state: the JSON object of its fields."""
    return to_json(fields_of(state)).encode()
