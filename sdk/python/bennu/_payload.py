"""Payloads, and checks of what a callback asks for. What the host would refuse is refused here, where the error has the plugin's line."""

import json
import json.scanner
from dataclasses import fields, is_dataclass
from datetime import timedelta
from enum import Enum
from typing import Any

from ._contract import types

#: The maximum length of an event, a topic, a key of a presence, and other names, in bytes.
NAME_BYTES_MAX = 255

DAY_MS = 24 * 60 * 60 * 1000

#: The default of a payload, which is then an object of the named arguments.
NAMED: Any = ...

#: No number of the contract is larger.
NUMBER_MAX = 2**53 - 1


def fields_of(value: Any) -> dict[str, Any]:
    """The fields of a dataclass, by their names. Its other attributes, such as cached properties, are no part of a value."""
    own = getattr(value, "__dict__", None)
    names = value.__dataclass_fields__
    return own if own is not None and own.keys() == names.keys() else {field.name: getattr(value, field.name) for field in fields(value)}


def _plain(value: Any) -> Any:
    """What JSON has no form for: a dataclass is an object of its fields, and a set a sorted list."""
    if is_dataclass(value) and not isinstance(value, type):
        return fields_of(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"{type(value).__name__} is not a JSON value")


# The encoder and the scanner of `json`, made once: `json.dumps` and `json.loads` make or match more for each call than a short value costs.
_markers: dict[int, Any] = {}
_decoder = json.JSONDecoder()
_scan = json.scanner.make_scanner(_decoder)  # type: ignore[arg-type]
_chunks = json.encoder.c_make_encoder and json.encoder.c_make_encoder(  # type: ignore[attr-defined]
    _markers, _plain, json.encoder.encode_basestring, None, ":", ",", False, False, False
)
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain).encode


def parse(text: str) -> Any:
    """Returns the value of a JSON text."""
    try:
        value, end = _scan(text, 0)
    except StopIteration:
        end = -1
    # The decoder allows space around the value, and says what is wrong.
    return value if end == len(text) else _decoder.decode(text)


def to_json(value: Any) -> str:
    """Returns the text of a JSON value."""
    try:
        text = "".join(_chunks(value, 0)) if _chunks else _encode(value)
    except Exception as problem:
        # The values that the encoder was in.
        _markers.clear()
        # The places in the encoder say nothing.
        raise problem.with_traceback(None) from None
    if not text.isascii():
        # Half of a surrogate pair is no text, and no byte of UTF-8 stands for it.
        text.encode()
    return text


def pack(value: Any) -> Any:
    """Packs any JSON value, or bytes."""
    if isinstance(value, (bytes, bytearray)):
        return types.Payload_Binary(bytes(value))
    return types.Payload_Json(to_json(value))


def pack_object(event: str, payload: Any, named: dict[str, Any]) -> Any:
    """Packs the payload of an event to clients: a JSON object, or bytes. It may be given as named arguments."""
    name("an event", event)
    if payload is NAMED:
        return types.Payload_Json(to_json(named))
    if isinstance(payload, (bytes, bytearray)) and not named:
        return types.Payload_Binary(bytes(payload))
    return types.Payload_Json(object_text(f"the payload of `{event}`", payload, named))


def object_text(what: str, value: Any, named: dict[str, Any]) -> str:
    """Returns the JSON text of an object, with more fields."""
    if not isinstance(value, dict):
        if not is_dataclass(value) or isinstance(value, type):
            raise TypeError(f"{what} must be an object, and not {type(value).__name__}")
        value = fields_of(value)
    return to_json({**value, **named} if named else value)


def pack_any(event: str, payload: Any, named: dict[str, Any]) -> Any:
    """Packs the payload of a message to a callback: any JSON value, or bytes. It may be given as named arguments."""
    name("an event", event)
    if payload is NAMED or named:
        return pack_object(event, payload, named)
    return pack(payload)


def unpack(payload: Any) -> Any:
    """Returns the value of a payload."""
    return parse(payload.value) if isinstance(payload, types.Payload_Json) else payload.value


def name(what: str, value: Any) -> str:
    """Checks a name that is an argument of an effect."""
    text(what, value)
    # A character has at most four bytes.
    if len(value) > NAME_BYTES_MAX // 4 and len(value.encode()) > NAME_BYTES_MAX:
        raise ValueError(f"{what} has at most {NAME_BYTES_MAX} bytes")
    return value


def text(what: str, value: Any) -> str:
    """Checks a text that is an argument of an effect."""
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a string, and not {type(value).__name__}")
    if not value.isascii():
        value.encode()
    return value


def count(what: str, value: Any, most: int = NUMBER_MAX) -> int:
    """Checks a number that is an argument of an effect."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"{what} must be a whole number, and not {value!r}")
    if value > most:
        raise ValueError(f"{what} is at most {most}, and not {value}")
    return value


def duration(what: str, value: Any, most: int = NUMBER_MAX) -> int:
    """Checks a duration: milliseconds, or a `timedelta`."""
    if isinstance(value, timedelta):
        value = value // timedelta(milliseconds=1)
    return count(what, value, most)
