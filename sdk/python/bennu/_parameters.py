"""The parameters of a handler: fields of the payload, checked by their annotations."""

import inspect
import typing
from collections.abc import Callable
from typing import Any

from ._channel import refuse
from ._topic import WholePayload
from ._values import ANY, Mismatch, kind_of


class Handler:
    """A method that gets fields of a payload as its parameters."""

    __slots__ = ("_fields", "_names", "_takes_rest", "_whole", "_whole_read", "call")

    def __init__(self, function: Callable[..., Any], *first: str) -> None:
        """`first` are the parameters that come before those of the payload: `self` and the socket, or the topic."""
        #: The function itself.
        self.call = function
        self._takes_rest = False
        self._whole: str | None = None
        self._whole_read: Callable[[Any], Any] | None = None
        self._fields: list[tuple[str, Any, str | None]] = []
        parameters = list(inspect.signature(function).parameters.values())
        leading = parameters[: len(first)]
        if len(leading) < len(first) or any(it.kind not in (it.POSITIONAL_ONLY, it.POSITIONAL_OR_KEYWORD) for it in leading):
            raise TypeError(f"{function.__qualname__} needs the parameters {', '.join(first)} before those of the payload")
        hints = typing.get_type_hints(function, include_extras=True)
        for parameter in parameters[len(first) :]:
            self._add(parameter, hints.get(parameter.name, Any), function)
        if self._whole and (self._fields or self._takes_rest):
            raise TypeError(f"{function.__qualname__} takes the whole payload as `{self._whole}`, so it can't take fields of it")
        self._names = frozenset(name for name, _, _ in self._fields)

    def _add(self, parameter: inspect.Parameter, annotation: Any, function: Callable[..., Any]) -> None:
        if parameter.kind is parameter.VAR_KEYWORD:
            self._takes_rest = True
        elif parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
            raise TypeError(
                f"{function.__qualname__}: the parameter `{parameter.name}` must have a name, because fields of a payload have one"
            )
        elif WholePayload in typing.get_args(annotation):
            self._whole = parameter.name
        elif annotation is bytes:
            self._whole, self._whole_read = parameter.name, kind_of(bytes).read
        else:
            kind = kind_of(annotation)
            expected = None if parameter.default is not parameter.empty else "" if kind is ANY else f", expected {kind.expected}"
            self._fields.append((parameter.name, kind.read, expected))

    def bind(self, payload: Any) -> dict[str, Any]:
        """The named arguments of a call. Refuses a payload that doesn't fit."""
        try:
            if self._whole is not None:
                return {self._whole: payload if self._whole_read is None else self._whole_read(payload)}
            if not isinstance(payload, dict):
                if not self._fields and not self._takes_rest:
                    return {}
                raise Mismatch("an object")
            given = {}
            for name, read, missing in self._fields:
                if name not in payload:
                    if missing is not None:
                        refuse(f"{name}: missing{missing}")
                    continue
                given[name] = payload[name] if read is None else _read(name, read, payload[name])
        except Mismatch as mismatch:
            refuse(str(mismatch))
        if self._takes_rest:
            given.update((name, value) for name, value in payload.items() if name not in self._names)
        return given


def _read(name: str, read: Callable[[Any], Any], value: Any) -> Any:
    try:
        return read(value)
    except Mismatch as mismatch:
        raise mismatch.within(name) from None
