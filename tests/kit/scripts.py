"""Plays the scripts of tests/scripts on `bennu kit`, with the plugin `naughty` in Python.

    python3 scripts.py path/to/bennu path/to/bennu.toml SCRIPT...
"""

import json
import re
import sys
import tomllib
from pathlib import Path


ANYTHING = "…"
TIME = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}


def pattern(text):
    """Expected JSON, in which an ellipsis outside of strings stands for any value."""
    parts = re.split(r'("(?:[^"\\]|\\.)*")', text)
    quoted = [part if at % 2 else part.replace(ANYTHING, f'"{ANYTHING}"') for at, part in enumerate(parts)]
    return json.loads("".join(quoted))


def matches(expected, received):
    if expected == ANYTHING:
        return True
    if isinstance(expected, dict) and isinstance(received, dict):
        return expected.keys() == received.keys() and all(matches(expected[key], received[key]) for key in expected)
    if isinstance(expected, list) and isinstance(received, list):
        return len(expected) == len(received) and all(map(matches, expected, received))
    return type(expected) is type(received) and expected == received


class Words:
    """A message in a script's words: `EVENT [on TOPIC] [#LABEL] [PAYLOAD]`."""

    def __init__(self, text, first_is=None):
        self.topic = self.label = self.status = None
        self.word, rest = cut(text)
        if first_is == "topic":
            self.topic, (self.word, rest) = self.word, cut(rest)
        if self.word == "reply":
            self.status, rest = cut(rest)
        elif self.word in ("ok", "error"):
            self.status = self.word
        if self.word == "join" and rest:
            self.topic, rest = cut(rest)
        while True:
            word, after = cut(rest)
            if word == "on":
                self.topic, rest = cut(after)
            elif word.startswith("#"):
                self.label, rest = word, after
            else:
                break
        self.payload = pattern(rest) if rest else {}


def cut(text):
    """The first word, and the rest."""
    first, _, rest = text.strip().partition(" ")
    return first, rest.strip()


class Actor:
    def __init__(self, client):
        self.client, self.topic, self.last = client, None, None
        self.labels, self.joins = {}, {}

    def push(self, words):
        topic = words.topic or self.topic
        event = {"join": "phx_join", "leave": "phx_leave"}.get(words.word, words.word)
        joining = event == "phx_join"
        ref = self.client.push(topic, event, words.payload, None if joining else self.joins.get(topic))
        self.last = ref
        if joining:
            self.joins[topic], self.topic = self.last, topic
        if words.label:
            self.labels[words.label] = self.last

    def expects(self, words):
        """The expected frames. The next frame must be one of them."""
        topic = words.topic or self.topic
        join = self.joins.get(topic)
        ref = self.labels[words.label] if words.label else self.last
        if words.status:
            answer = {"status": words.status, "response": words.payload}
            return [[join, ref, topic, "phx_reply", answer]]
        if words.word == "unmatched":
            answer = {"status": "error", "response": {"reason": "unmatched topic"}}
            return [[None, ref, topic, "phx_reply", answer]]
        if words.word == "phx_close":
            return [[join, join, topic, "phx_close", {}]]
        if words.word == "phx_error":
            return [[join, join, topic, "phx_error", {"reason": "channel_crash"}]]
        return [[which, None, topic, words.word, words.payload] for which in (None, join)]


class Cast:
    """The clients of a script. `reload` serves another build of the plugin."""

    def __init__(self, kit, reload):
        self.kit, self.actors, self.answer, self.reload = kit, {}, None, reload

    def actor(self, who):
        if who not in self.actors:
            self.actors[who] = Actor(self.kit.connect())
        return self.actors[who]

    def line(self, text):
        (who, rest), (verb, what) = cut(text), cut(cut(text)[1])
        if who == "clock":
            number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)", what).groups()
            return self.kit.do("advance", ms=int(number) * TIME[unit])
        if who == "http":
            method, rest = cut(what)
            url, rest = cut(rest)
            outcome, body = cut(rest)
            result = {"status": int(outcome)} if outcome.isdigit() else {"failure": outcome}
            body = json.dumps(pattern(body), separators=(",", ":")) if body else ""
            return self.kit.do("http", method=method, url=url, body=body, **result)
        if who == "host":
            return self.host(verb, what)
        if verb == "=":
            self.actors[who] = Actor(self.kit.connect(**json.loads(what)))
        elif verb == ">" and what.startswith("["):
            self.actor(who).client.frame(json.loads(what))
        elif verb == ">":
            self.actor(who).push(Words(what))
        elif verb == "x":
            self.actors.pop(who).client.close()
        elif verb == "~":
            self.see(who, [None])
        elif verb == "<" and what.startswith("close "):
            self.see(who, [{"closed": int(what.split()[1])}])
            self.actors.pop(who)
        elif verb == "<" and what.startswith("["):
            self.see(who, [pattern(what)])
        elif verb == "<":
            self.see(who, self.actor(who).expects(Words(what)))
        else:
            raise AssertionError(f"no such verb: {verb} in {rest}")
        return None

    def see(self, who, expected):
        received = self.actor(who).client.next()
        if not any(matches(one, received) for one in expected):
            raise AssertionError(f"expected {expected}\nreceived {received}")

    def host(self, verb, what):
        if verb == "<":
            words = Words(what)
            expected = "none" if words.word == "none" else [words.status, words.payload]
            if not matches(expected, self.answer):
                raise AssertionError(f"expected {expected}\nreceived {self.answer}")
            return
        act, rest = cut(what)
        if act == "reload":
            plugin, _, build = rest.partition(" ")
            assert (plugin, build) in ((plugin, plugin), ("naughty", "variants/naughty-entries")), build
            self.reload(self.kit, 0 if build == plugin else 1)
            return
        if act == "disconnect":
            assert self.kit.do("disconnect", socket_id=rest) > 0, "no socket has this id"
            return
        words = Words(rest, first_is="topic")
        fields = {"topic": words.topic, "event": words.word, "payload": words.payload}
        try:
            reply = self.kit.do(act, **fields)
            self.answer = "none" if reply is None else [reply["status"], reply["payload"]]
        except Exception as fault:
            # Each kit has a class of its own for faults.
            assert type(fault).__name__ == "Fault", fault
            self.answer = ["error", str(fault)]


def play(kit, reload, script):
    cast = Cast(kit, reload)
    for number, text in enumerate(script.read_text(encoding="utf-8").splitlines(), 1):
        if not text.strip() or text.startswith("--"):
            continue
        try:
            cast.line(text)
        except Exception as error:
            faults = kit.do("faults")
            raise AssertionError(f"{script.name}:{number}: {text}\n{error!r}\nfaults: {faults}") from error


def play_all(scripts, start, reload):
    """Plays each script on a kit of its own. `start` starts one."""
    for script in scripts:
        with start() as kit:
            play(kit, reload, Path(script))
        print(f"ok      {script}", flush=True)


def granted(config):
    """The options of the plugin in a configuration."""
    options = tomllib.loads(Path(config).read_text(encoding="utf-8"))["plugins"]["naughty"]
    # The answers of a script are all that its plugin may ask for.
    options.pop("http")
    return options


def main():
    import naughty

    binary, config, *scripts = sys.argv[1:]
    options = granted(config)
    play_all(scripts, lambda: naughty.kit([binary, "kit"], **options), naughty.reload)


if __name__ == "__main__":
    main()
