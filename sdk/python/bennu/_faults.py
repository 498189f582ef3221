"""The text of a fault: the exception, and where it was raised."""

import re
from types import TracebackType

#: The most places that a text has.
PLACES_MAX = 8

#: What the files of the component begin with, and what they are called in a fault. `_component` sets it.
folders: list[tuple[str, str]] = []

_OWN = re.compile(r"(^|[/\\])bennu[/\\](testing[/\\])?\w+\.py$")


def shown_file(file: str) -> str:
    """The path of a file as its author knows it."""
    for prefix, place in folders:
        if file.startswith(prefix):
            return place + file[len(prefix) :]
    # The standard library, in the component and on a machine.
    return re.sub(r"^.*[/\\]python3?(\.\d+)?[/\\]", "", file)


def _places(traceback: TracebackType | None) -> list[str]:
    """The places of an exception, from the innermost one. Those in the SDK are left out."""
    places = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if not _OWN.search(code.co_filename):
            places.append(f"{code.co_qualname} ({shown_file(code.co_filename)}:{traceback.tb_lineno})")
        traceback = traceback.tb_next
    return places[::-1]


def _shown(places: list[str]) -> str:
    if len(places) > PLACES_MAX:
        left_out = len(places) - PLACES_MAX
        places = [*places[: PLACES_MAX // 2], f"{left_out} more", *places[-PLACES_MAX // 2 :]]
    return ", called by ".join(places)


def problem_text(problem: BaseException) -> str:
    """The text of an exception with its places, in one line."""
    text, seen = _one(problem), {id(problem)}
    while (cause := problem.__cause__ or (None if problem.__suppress_context__ else problem.__context__)) and id(cause) not in seen:
        seen.add(id(cause))
        text = f"{text}; after {_one(cause)}"
        problem = cause
    return well_formed(text)


def well_formed(text: str) -> str:
    """The text with question marks for halves of surrogate pairs. A client's JSON can have them, and UTF-8 has no byte for one."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def _one(problem: BaseException) -> str:
    message = _message(problem)
    if isinstance(problem, ModuleNotFoundError):
        message += " (a plugin has no files: import a module at the top of a file, so that it is built in)"
    notes = "".join(f" ({note})" for note in getattr(problem, "__notes__", ()))
    places = _places(problem.__traceback__)
    name = type(problem).__name__
    return f"{name}{': ' if message else ''}{message}{notes}{'; in ' if places else ''}{_shown(places)}"


def _message(problem: BaseException) -> str:
    try:
        return str(problem)
    except Exception:
        return "an exception without a text"
