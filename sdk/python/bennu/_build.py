"""Builds the component of a plugin: `python -m bennu build SOURCE --output FILE`. componentize-py does the work."""

import argparse
import importlib
import importlib.util
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import traceback
from pathlib import Path
from types import ModuleType

from . import __version__
from ._callbacks import Callbacks
from ._channel import channels_of
from ._gatekeeper import gatekeepers_of


COMPONENTIZE = "componentize-py==0.25.1"

_ENTRY = """\
import bennu._component as component

component.prepare()
import {module} as source

callbacks = component.plugin(source, {folders!r})
"""

_CLASS = """

class {name}:
{methods}
"""

#: The callbacks of each export of the contract.
_EXPORTS = {
    "channel": ["describe", "join", "handle_in", "handle_info", "terminate"],
    "connect": ["connect"],
    "upgrade": ["upgrade"],
    "upgrade-entry": ["upgrade_entry"],
}


class Unbuildable(Exception):
    """The plugin can't be built. The text says why."""


def load(source: Path) -> ModuleType:
    """Imports the source with this interpreter, so that its mistakes are shown at once and with its own lines."""
    sys.path.insert(0, str(source.parent))
    try:
        return importlib.import_module(source.stem)
    except Exception as problem:
        shown = traceback.TracebackException.from_exception(problem)
        # The frames of the import itself say nothing about the mistake.
        own = [
            frame
            for frame in shown.stack
            if not frame.filename.startswith("<") and frame.filename != __file__ and "importlib" not in frame.filename
        ]
        shown.stack = traceback.StackSummary.from_list(own)
        raise Unbuildable("".join(shown.format())) from None


def exports_of(source: ModuleType, file: Path) -> list[str]:
    """The exports that the plugin needs. Finds mistakes in its channels."""
    channels, gatekeepers = channels_of(source), gatekeepers_of(source)
    if channels and gatekeepers or len(gatekeepers) > 1:
        raise Unbuildable(f"{file} has a gatekeeper and something else; a gatekeeper has a plugin of its own")
    if gatekeepers:
        return ["connect"]
    if not channels:
        raise Unbuildable(f'{file} has no channel: write `@channel("room:*")` above a class, or import it there')
    try:
        return ["channel", *Callbacks(channels).offers()]
    except (TypeError, NameError) as problem:
        raise Unbuildable(f"{file}: {problem}") from None


def _world(exports: list[str]) -> str:
    if exports == ["connect"]:
        return "package bennu:built;\n\nworld built {\n  include bennu:channel/gatekeeper@0.1.0;\n}\n"
    more = "".join(f"  export bennu:channel/{name}@0.1.0;\n" for name in exports if name != "channel")
    return f"package bennu:built;\n\nworld built {{\n  include bennu:channel/plugin@0.1.0;\n{more}}}\n"


def _entry(module: str, exports: list[str], folders: list[tuple[str, str]]) -> str:
    text = _ENTRY.format(module=module, folders=folders)
    for export in exports:
        names = _EXPORTS.get(export, [export.replace("-", "_")])
        methods = "".join(f'    {name} = staticmethod(callbacks["{name}"])\n' for name in names)
        text += _CLASS.format(name="".join(word.capitalize() for word in export.split("-")), methods=methods.rstrip())
    return text


def _componentize() -> list[str]:
    """The program: of this interpreter, or else of the PATH."""
    name = "componentize-py" + (".exe" if sys.platform == "win32" else "")
    own = Path(sysconfig.get_path("scripts")) / name
    found = str(own) if own.is_file() else shutil.which(name)
    if found is None:
        raise Unbuildable(
            f"componentize-py isn't installed. In the project's folder, run:\n\n"
            f"  python3 -m venv .venv && .venv/bin/pip install {COMPONENTIZE}\n"
        )
    return [found]


def build(source: Path, output: Path, contract: Path, shown: Path) -> None:
    """Builds the component of a source file. `contract` has the files of the contract, and `shown` is the folder of the project, to which
    the places in faults are relative."""
    program = _componentize()
    exports = exports_of(load(source), source)
    package = Path(__file__).parent
    with tempfile.TemporaryDirectory(prefix="bennu-python-") as scratch:
        made, wit = Path(scratch) / "entry", Path(scratch) / "wit"
        made.mkdir()
        shutil.copytree(contract, wit / "deps" / "bennu-channel")
        (wit / "world.wit").write_text(_world(exports), encoding="utf-8")
        paths = [made, source.parent, package.parent]
        # componentize-py numbers its folders in this order.
        names = ["", _relative(source.parent, shown), "bennu/"]
        folders = [(f"/{at}/", name) for at, name in enumerate(names)]
        (made / "bennu_entry.py").write_text(_entry(source.stem, exports, folders), encoding="utf-8")
        command = [*program, "--quiet", "-d", str(wit), "-w", "built", "componentize", "bennu_entry", "-o", str(output)]
        for path in paths:
            command += ["-p", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Unbuildable(f"componentize-py has failed:\n{done.stderr or done.stdout}")
    with output.open("ab") as component:
        component.write(_producers(program))


def _producers(program: list[str]) -> bytes:
    """A section that says what has made the component. `bennu check` shows it."""
    asked = subprocess.run([*program, "--version"], capture_output=True, text=True, check=False)
    processed = [("componentize-py", asked.stdout.split()[-1])] if asked.stdout else []
    fields = [("sdk", [("bennu for Python", __version__)]), ("processed-by", processed)]
    content = _text("producers") + _list(
        [_text(name) + _list([_text(tool) + _text(version) for tool, version in tools]) for name, tools in fields]
    )
    return b"\0" + _number(len(content)) + content


def _number(value: int) -> bytes:
    """A number as WebAssembly has it (LEB128)."""
    low, high = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _number(high) if high else bytes([low])


def _text(text: str) -> bytes:
    return _number(len(text.encode())) + text.encode()


def _list(items: list[bytes]) -> bytes:
    return _number(len(items)) + b"".join(items)


def _relative(folder: Path, to: Path) -> str:
    """The path of a folder in faults, with a slash at its end."""
    try:
        path = folder.resolve().relative_to(to.resolve()).as_posix()
    except ValueError:
        path = folder.name
    return "" if path == "." else f"{path}/"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bennu build", description="Builds the component of a plugin.")
    parser.add_argument("source", type=Path, help="the file with the channels")
    parser.add_argument("--output", type=Path, required=True, help="the component")
    parser.add_argument("--contract", type=Path, default=Path(__file__).parent / "wit", help="the folder of the contract")
    options = parser.parse_args(arguments)
    source = options.source.resolve()
    if not source.stem.isidentifier():
        print(f"{options.source}: the name of the file must be that of a module: letters, digits and `_`", file=sys.stderr)
        return 1
    try:
        build(source, options.output.resolve(), options.contract, Path.cwd())
    except Unbuildable as why:
        print(why, file=sys.stderr)
        return 1
    return 0
