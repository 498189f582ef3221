"""The component's side: the contract's imports and exports as componentize-py makes them, and what WASI has no system for.

Only the file that `bennu._build` writes imports it. All of it runs once, when the component is built: an instance begins with the
interpreter as it was then.
"""

import gc
import importlib
import logging
import random
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from . import _contract, _faults
from ._callbacks import Callbacks, Gate, guarded
from ._channel import channels_of
from ._gatekeeper import gatekeepers_of

#: Modules of the standard library that others import when a function is first called. A component has no files to import them from.
_LATER = (
    "_strptime", "base64", "calendar", "datetime", "decimal", "encodings.ascii", "encodings.idna", "encodings.latin_1",
    "encodings.utf_16", "encodings.utf_8_sig", "fractions", "hashlib", "hmac", "itertools", "locale", "secrets", "statistics", "string",
    "textwrap", "traceback", "uuid", "zoneinfo",
)  # fmt: skip


def _module(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _public(module: ModuleType) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if not name.startswith("_")}


def _connect() -> None:
    """Gives the SDK the functions and the types of the component's world."""
    for name, interface in _contract.INTERFACES.items():
        if module := _module(f"wit_world.imports.{name}"):
            vars(interface).update(_public(module))
    types = vars(_contract.types)
    types["Err"] = importlib.import_module("componentize_py_types").Err
    for name in ("imports.types", "exports.handle_out", "exports.connect"):
        if module := _module(f"wit_world.{name}"):
            types.update(_public(module))
    if module := _module("wit_world.exports.handle_message"):
        types["MessageOutcome"] = module.Outcome


class _HostLog(logging.Handler):
    """Writes the records of `logging` to the host's log, each with its level."""

    def emit(self, record: logging.LogRecord) -> None:
        levels = _contract.host.Level
        names = ((logging.ERROR, levels.ERROR), (logging.WARNING, levels.WARN), (logging.INFO, levels.INFO), (0, levels.DEBUG))
        _contract.host.log(next(level for least, level in names if record.levelno >= least), self._text(record))

    def _text(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        problem = record.exc_info[1] if record.exc_info else None
        return _faults.well_formed(f"{text}: {_faults.problem_text(problem)}" if problem else text)


def _adapt() -> None:
    # The standard output is no terminal, so Python would keep its lines until there are many.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    logging.basicConfig(handlers=[_HostLog()], level=logging.DEBUG, force=True)
    # The state of a generator would be part of the built component, so that all instances had the same numbers.
    system = random.SystemRandom()
    for name in random.__all__:
        if callable(function := getattr(system, name, None)) and not isinstance(function, type):
            setattr(random, name, function)
    for name in _LATER:
        _module(name)


def _flushed(callback: Callable[..., Any]) -> Callable[..., Any]:
    """The callback, after which nothing waits in the buffer of `print`: the next call may be about another member."""
    flush = sys.stdout.flush

    def run(*given: Any) -> Any:
        try:
            return callback(*given)
        finally:
            flush()

    return run


def prepare() -> None:
    """Makes the standard library and the SDK ready for the plugin's modules."""
    _connect()
    _adapt()


def plugin(source: ModuleType, folders: list[tuple[str, str]]) -> dict[str, Any]:
    """The callbacks of a plugin, by their names in the contract."""
    _faults.folders = folders
    gate = next(iter(gatekeepers_of(source)), None)
    callbacks: Any = Callbacks(channels_of(source)) if gate is None else Gate(gate)
    names = [name for name in dir(callbacks) if not name.startswith("_")]
    made = {name: _flushed(guarded(getattr(callbacks, name))) for name in names}
    # What exists now lives as long as the instance, so the collector needn't look at it, nor write to its memory.
    gc.collect()
    gc.freeze()
    return made
