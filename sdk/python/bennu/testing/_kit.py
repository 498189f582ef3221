"""A client of `bennu kit`, the host of a native test: `bennu docs kit` describes the lines. It has none of the host's rules."""

import base64
import json
import os
import subprocess
import weakref
from collections import namedtuple
from enum import Enum
from typing import Any

from .. import _contract
from .._callbacks import Callbacks, guarded

Fields = dict[str, Any]

_TYPES = {
    "Payload_Json": "value", "Payload_Binary": "value", "Setting": "name value", "Route": "pattern intercepts assigns_version room_version options",
    "Reply": "status payload", "Stop": "reason reply", "Answer_None_": "", "Answer_Reply": "value", "Answer_Stop": "value",
    "Outcome": "assigns room answer", "MessageOutcome": "room reply", "Admitted": "assigns room response", "Admission_Admitted": "value",
    "Admission_Refused": "value", "Decision_Pass": "", "Decision_Drop": "", "Decision_Replace": "value", "Decision_HandOver": "",
    "Member": "id topic assigns room", "Message": "source topic event payload", "Ending": "cause detail", "Tick": "number missed period_ms",
    "Recipient": "member assigns",
}  # fmt: skip

types: Any = _contract.types
for name, fields_of in _TYPES.items():
    setattr(types, name, namedtuple(name, fields_of))

Change = Enum("Change", "TAKEN DROPPED RETURNED GONE")
Part = Enum("Part", "ASSIGNS ROOM")


class Err(Exception):
    """An error of the contract."""

    def __init__(self, value: Any) -> None:
        super().__init__(value)
        self.value = value


types.Err = Err


class Fault(Exception):
    """Ends the running callback, because the host refuses what it asked for."""


class KitProblem(Exception):
    """`bennu kit` can't be used."""


def coded(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def decoded(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def fields(payload: Any) -> Fields:
    """The fields of a payload."""
    return {"payload_text": payload.value} if isinstance(payload, types.Payload_Json) else {"payload_base64": coded(payload.value)}


def payload_of(line: Fields) -> Any:
    if "payload_base64" in line:
        return types.Payload_Binary(decoded(line["payload_base64"]))
    return types.Payload_Json(json.dumps(line.get("payload", {})))


#: The kit whose callback runs.
running: "Kit | None" = None


def ask(what: str, **given: Any) -> Any:
    """Calls a function of the host for the running callback."""
    if running is None:
        raise RuntimeError(f"`{what}` can only be used in a callback")
    running.write({"ask": what, **{key: value for key, value in given.items() if value is not None}})
    return _answer(running.read())


def _answer(line: Fields) -> Any:
    if "fault" in line:
        raise Fault(f"{line['fault']['kind']}: {line['fault']['detail']}")
    if "error" in line:
        raise KitProblem(f"bennu kit: {line['error']}")
    return line["ok"]


def _end(process: subprocess.Popen[str]) -> None:
    process.stdin.close()  # type: ignore[union-attr]
    process.stdout.close()  # type: ignore[union-attr]
    process.wait()


class Kit:
    """A host without clients, whose plugin is in this process."""

    def __init__(self, channels: list[Any]) -> None:
        program = os.environ.get("BENNU", "bennu")
        try:
            self._process = subprocess.Popen([program, "kit"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")
        except OSError as error:
            raise KitProblem(f"`{program} kit` can't be started ({error}); put `bennu` on the PATH, or set BENNU to its path") from None
        self.close = weakref.finalize(self, _end, self._process)
        #: The schedule or cron line that fired the running callback.
        self.fired: Fields = {}
        self.serve(channels)

    def serve(self, channels: list[Any]) -> None:
        """Serves these channels from now on. Members and rooms stay."""
        self._plugin = Callbacks(channels)
        self.do("routes", routes=[_described(route) for route in self._plugin.describe()], states="base64")

    def do(self, what: str, **given: Any) -> Any:
        """Does something from outside. Runs the callbacks that follow from it."""
        self.write({"do": what, **{key: value for key, value in given.items() if value is not None}})
        while "call" in (line := self.read()):
            self._run(line)
        return _answer(line)

    def write(self, line: Fields) -> None:
        try:
            self._process.stdin.write(json.dumps(line) + "\n")  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]
        except (BrokenPipeError, ValueError):
            raise KitProblem("`bennu kit` has ended") from None

    def read(self) -> Fields:
        line = self._process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            raise KitProblem(f"`bennu kit` has ended with {self._process.wait()}")
        return json.loads(line)

    def _run(self, line: Fields) -> None:
        global running
        running, self.fired = self, line if line["call"] == "handle_topic_info" else {}
        try:
            result = {"return": guarded(self._call)(line)}
        except Err as error:
            result = {"fail": error.value}
        finally:
            running = None
        self.write(result)

    def _call(self, line: Fields) -> Fields:
        plugin, call, topic = self._plugin, line["call"], line["topic"]
        event, payload, room = line.get("event", ""), payload_of(line), decoded(line.get("room"))
        if call == "join":
            decision = plugin.join(line["member"], topic, payload, room)
            if isinstance(decision, types.Admission_Refused):
                return {"refuse": fields(decision.value)}
            return {**_changed(decision.value), **fields(decision.value.response)}
        member = types.Member(line.get("member"), topic, decoded(line.get("assigns")) or b"", room)
        if call == "handle_in":
            return _outcome(plugin.handle_in(member, event, payload, line.get("ref")))
        if call == "handle_info":
            return _outcome(plugin.handle_info(member, types.Message(line["source"], line["from"], event, payload)))
        if call == "terminate":
            return _room(plugin.terminate(member, types.Ending(line["cause"], line["detail"])))
        if call == "handle_message":
            return _outcome(plugin.handle_message(topic, event, payload, room))
        if call == "handle_topic_info":
            return _room(plugin.handle_topic_info(topic, types.Message(line["source"], topic, event, payload), room))
        if call == "handle_tick":
            return _room(plugin.handle_tick(topic, types.Tick(line["number"], line["missed"], line["period_ms"]), room))
        if call == "handle_seat":
            return _room(plugin.handle_seat(topic, line["seat"], Change[line["change"].upper()], room))
        if call == "handle_out":
            return _decision(plugin.handle_out(topic, event, payload, [types.Recipient(line["member"], member.assigns)])[0])
        if call == "upgrade":
            return {"state": coded(plugin.upgrade(topic, Part[line["part"].upper()], line["version"], decoded(line["state"]) or b""))}
        if call == "upgrade_entry":
            key, value = decoded(line["key"]) or b"", decoded(line["value"]) or b""
            return {"value": coded(plugin.upgrade_entry(topic, key, line["version"], value))}
        raise KitProblem(f"bennu kit calls `{call}`, which this test kit doesn't have; write it again with `bennu types`")


def _described(route: Any) -> Fields:
    options: Fields = {}
    for setting in route.options:
        known = options.get(setting.name)
        options[setting.name] = setting.value if known is None else [*(known if isinstance(known, list) else [known]), setting.value]
    return {**route._asdict(), "options": options}


def _room(room: bytes | None) -> Fields:
    return {} if room is None else {"room": coded(room)}


def _changed(states: Any) -> Fields:
    assigns = getattr(states, "assigns", None)
    return {**({} if assigns is None else {"assigns": coded(assigns)}), **_room(states.room)}


def _reply(reply: Any) -> Fields | None:
    return reply and {"status": reply.status, **fields(reply.payload)}


def _outcome(outcome: Any) -> Fields:
    answer, changed = getattr(outcome, "answer", None), _changed(outcome)
    if isinstance(answer, types.Answer_Stop):
        return {**changed, "stop": {"reason": answer.value.reason, "reply": _reply(answer.value.reply)}}
    reply = answer.value if isinstance(answer, types.Answer_Reply) else getattr(outcome, "reply", None)
    return changed if reply is None else {**changed, "reply": _reply(reply)}


def _decision(decision: Any) -> Fields:
    name = {types.Decision_Pass: "pass", types.Decision_Drop: "drop", types.Decision_HandOver: "hand_over"}.get(type(decision))
    return {"decision": name} if name else {"decision": "replace", **fields(decision.value)}
