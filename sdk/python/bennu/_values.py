"""Values of JSON as a plugin's annotations describe them: checked, and made into dataclasses, sets, tuples and enums."""

import dataclasses
import types
import typing
from collections.abc import Callable
from enum import Enum
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

Reader = Callable[[Any], Any]


class Mismatch(Exception):
    """A value isn't what its annotation says. The place is a path such as `players.ada.score`."""

    def __init__(self, expected: str, place: str = "") -> None:
        super().__init__(f"{place}: expected {expected}" if place else f"expected {expected}")
        self.expected, self.place = expected, place

    def within(self, place: Any) -> "Mismatch":
        return Mismatch(self.expected, f"{place}.{self.place}" if self.place else str(place))


@dataclasses.dataclass(frozen=True)
class Kind:
    """How values of an annotation are read, and what an error calls them. Without a reader, every value is right."""

    expected: str
    read: Reader | None


def _checked(expected: str, *classes: type, but: type | None = None) -> Kind:
    def read(value: Any) -> Any:
        if isinstance(value, classes) and not (but is not None and isinstance(value, but)):
            return value
        raise Mismatch(expected)

    return Kind(expected, read)


ANY = Kind("a value", None)

_SIMPLE: dict[Any, Kind] = {
    Any: ANY,
    object: ANY,
    str: _checked("a string", str),
    int: _checked("a whole number", int, but=bool),
    float: _checked("a number", int, float, but=bool),
    bool: _checked("true or false", bool),
    None: _checked("null", type(None)),
    type(None): _checked("null", type(None)),
    list: _checked("a list", list),
    dict: _checked("an object", dict),
    bytes: _checked("bytes", bytes),
    tuple: Kind("a list", lambda value: tuple(_checked("a list", list).read(value))),  # type: ignore[misc]
    set: Kind("a list", lambda value: set(_checked("a list", list).read(value))),  # type: ignore[misc]
}


@cache
def kind_of(annotation: Any) -> Kind:
    """Returns how values of an annotation are read. Values of an annotation that isn't known here aren't checked."""
    if annotation in _SIMPLE:
        return _SIMPLE[annotation]
    if isinstance(annotation, typing.NewType):
        return kind_of(annotation.__supertype__)
    if type(annotation).__name__ == "TypeAliasType":
        return kind_of(annotation.__value__)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        return kind_of(arguments[0])
    if origin in (Union, types.UnionType):
        return _one_of(arguments)
    if origin is Literal:
        return _literal(arguments)
    if origin in (list, set, frozenset):
        return _list_of(origin, arguments[0])
    if origin is tuple:
        return _tuple_of(arguments)
    if origin is dict:
        return _dict_of(*arguments)
    if dataclasses.is_dataclass(annotation):
        return Kind("an object", lambda value: read_fields(annotation, _SIMPLE[dict].read(value)))  # type: ignore[misc]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _enum(annotation)
    if typing.is_typeddict(annotation):
        return _SIMPLE[dict]
    return ANY


def _one_of(alternatives: tuple[Any, ...]) -> Kind:
    kinds = [kind_of(alternative) for alternative in alternatives]
    expected = " or ".join(dict.fromkeys(kind.expected for kind in kinds))
    if any(kind.read is None for kind in kinds):
        return ANY

    def read(value: Any) -> Any:
        inner = None
        for kind in kinds:
            try:
                return kind.read(value)  # type: ignore[misc]
            except Mismatch as mismatch:
                inner = inner or (mismatch if mismatch.place else None)
        raise inner or Mismatch(expected)

    return Kind(expected, read)


def _literal(values: tuple[Any, ...]) -> Kind:
    expected = "one of " + ", ".join(map(str, values))

    def read(value: Any) -> Any:
        if any(value == one and type(value) is type(one) for one in values):
            return value
        raise Mismatch(expected)

    return Kind(expected, read)


def _enum(of: type[Enum]) -> Kind:
    expected = "one of " + ", ".join(str(member.value) for member in of)

    def read(value: Any) -> Any:
        try:
            return of(value)
        except ValueError:
            raise Mismatch(expected) from None

    return Kind(expected, read)


def _list_of(make: type, item: Any) -> Kind:
    of = kind_of(item).read

    def read(value: Any) -> Any:
        if not isinstance(value, list):
            raise Mismatch("a list")
        return make(value) if of is None else make([_within(of, each, at) for at, each in enumerate(value)])

    return Kind("a list", read)


def _tuple_of(items: tuple[Any, ...]) -> Kind:
    if len(items) == 2 and items[1] is Ellipsis:
        return _list_of(tuple, items[0])
    kinds = [kind_of(item).read for item in items]

    def read(value: Any) -> Any:
        if not isinstance(value, list) or len(value) != len(kinds):
            raise Mismatch(f"a list of {len(kinds)}")
        return tuple(each if of is None else _within(of, each, at) for at, (of, each) in enumerate(zip(kinds, value, strict=True)))

    return Kind("a list", read)


def _dict_of(key: Any, item: Any) -> Kind:
    # The keys of JSON are texts.
    as_key: Reader | None = int if key is int else None
    of = kind_of(item).read

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise Mismatch("an object")
        if of is not None:
            value = {name: _within(of, each, name) for name, each in value.items()}
        return {as_key(name): each for name, each in value.items()} if as_key else value

    return Kind("an object", read)


def _within(read: Reader, value: Any, place: Any) -> Any:
    try:
        return read(value)
    except Mismatch as mismatch:
        raise mismatch.within(place) from None


@cache
def _fields_of(cls: Any) -> tuple[dict[str, Reader | None], dict[str, str]]:
    """The readers of a dataclass's fields, and what those without a default expect."""
    hints = typing.get_type_hints(cls)
    readers, required = {}, {}
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        kind = kind_of(hints[field.name])
        readers[field.name] = kind.read
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            required[field.name] = kind.expected
    return readers, required


def read_fields(cls: Any, values: dict[str, Any]) -> Any:
    """Makes a dataclass of an object. A field that is missing has its default, and one that the class lacks is left out."""
    readers, required = _fields_of(cls)
    for name, expected in required.items():
        if name not in values:
            raise Mismatch(f"{expected}, and it is missing", name)
    given = {}
    for name, read in readers.items():
        if name in values:
            given[name] = values[name] if read is None else _within(read, values[name], name)
    return cls(**given)
