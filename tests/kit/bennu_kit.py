"""A test kit for channels in Python: a small client of `bennu kit`, which is the host of its members.

    kit = Kit(["bennu", "kit"], {"room:*": Chat()})
    alice = kit.connect(user="alice")
    alice.push("room:1", "phx_join", {})
    alice.push("room:1", "new_msg", {"body": "hi"}, join_ref="1")
    assert alice.next() == ["1", "1", "room:1", "phx_reply", {"status": "ok", "response": {}}]

docs/kit.md describes the lines. `bennu kit` applies the rules of the host. This file has no rules.
"""

import base64
import json
import subprocess


class Fault(Exception):
    """Ends a callback, because the host refused its request."""

    def __init__(self, fault):
        super().__init__(f"{fault['kind']}: {fault['detail']}")
        self.kind, self.detail = fault["kind"], fault["detail"]


class Fail(Exception):
    """Raised by a callback that fails."""


class Refuse(Exception):
    """Raised by a join to refuse the client, and by another callback to answer with an error reply."""

    def __init__(self, response):
        super().__init__("refused")
        self.response = response


class Misunderstood(Exception):
    """The host doesn't understand a line, because this client has an error."""


class Text(str):
    """A payload as JSON text. The text may be invalid."""


class Reply:
    """An answer to a message."""

    def __init__(self, response=(), status="ok"):
        self.response, self.status = {} if response == () else response, status

    def fields(self):
        return {"status": self.status, **payload(self.response)}


class Stop:
    """An answer that ends the member."""

    def __init__(self, reason, reply=None):
        self.reason, self.reply = reason, reply

    def fields(self):
        return {"reason": self.reason, "reply": self.reply and self.reply.fields()}


class Decision:
    """The decision about an intercepted event."""

    def __init__(self, decision, instead=None):
        self.decision, self.instead = decision, instead

    def fields(self):
        instead = {} if self.instead is None else payload(self.instead)
        return {"decision": self.decision, **instead}


def payload(value):
    """The field for a payload."""
    if isinstance(value, (bytes, bytearray)):
        return {"payload_base64": text(value)}
    if isinstance(value, Text):
        return {"payload_text": value}
    return {"payload": value}


def text(value):
    return base64.b64encode(value).decode()


class Call:
    """A running callback: its parameters, and its requests to the host."""

    def __init__(self, kit, line):
        self._kit, self._line = kit, line
        self.topic, self.member = line["topic"], line.get("member")
        self.event, self.ref = line.get("event"), line.get("ref")
        self.assigns, self.room = line.get("assigns"), line.get("room")
        self._before = json.dumps([self.assigns, self.room])
        coded = line.get("payload_base64")
        self.payload = base64.b64decode(coded) if coded is not None else line.get("payload")

    def __getitem__(self, name):
        return self._line[name]

    def ask(self, what, **fields):
        """Asks the host for an effect or a value. Returns the host's answer."""
        return self._kit._ask(what, fields)

    def push(self, event, value):
        self.ask("push", event=event, **payload(value))

    def broadcast(self, event, value):
        self.ask("broadcast", event=event, **payload(value))

    def send_self(self, event, value):
        self.ask("send_self", event=event, **payload(value))

    def reply(self, ref, reply):
        self.ask("reply", ref=ref, **reply.fields())

    def get(self, key):
        value = self.ask("get", key=text(key.encode()))
        return None if value is None else json.loads(base64.b64decode(value))

    def put(self, key, value):
        value = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.ask("put", key=text(key.encode()), value=text(value))

    def put_expiring(self, key, value, ms):
        self.ask("put_expiring", key=text(key.encode()), value=text(json.dumps(value).encode()), ms=ms)

    def delete(self, key):
        self.ask("delete", key=text(key.encode()))

    def scan(self, start=None, end=None, **fields):
        coded = {name: text(bound.encode()) for name, bound in (("start", start), ("end", end)) if bound is not None}
        entries = self.ask("scan", **coded, **fields)
        return [(base64.b64decode(key).decode(), json.loads(base64.b64decode(value))) for key, value in entries]

    def returned(self, answer):
        """The fields of the callback's result: the changed states, and the answer."""
        before_assigns, before_room = json.loads(self._before)
        fields = {}
        if self.assigns != before_assigns:
            fields["assigns"] = self.assigns
        if self.room != before_room:
            fields["room"] = self.room
        if isinstance(answer, Reply):
            fields["reply"] = answer.fields()
        elif isinstance(answer, Stop):
            fields["stop"] = answer.fields()
        return fields


class Channel:
    """The callbacks of a route. A join sets `call.assigns` and returns its response."""

    #: The description of the route for the host: `intercepts`, `options`, versions.
    route = {}

    def join(self, call):
        return {}

    def handle_in(self, call):
        raise Refuse({"reason": f'unknown event "{call.event}"'})

    def handle_info(self, call):
        return None

    def handle_message(self, call):
        raise Refuse({"reason": f'unknown event "{call.event}"'})

    def handle_topic_info(self, call):
        return None

    def handle_tick(self, call):
        return None

    def handle_seat(self, call):
        return None

    def handle_out(self, call):
        return Decision("pass")

    def terminate(self, call):
        return None

    def upgrade(self, call):
        """Returns the new state, or `None` if the state needs no upgrade."""
        return None

    def upgrade_entry(self, call):
        """Returns the new value of an entry, coded, or `None` if the value needs no upgrade."""
        return None


class Client:
    """A connected client that sends and receives frames."""

    def __init__(self, kit, number):
        self._kit, self._number = kit, number

    def push(self, topic, event, value, join_ref=None):
        """Sends a message. Returns its ref."""
        join = {} if join_ref is None else {"join_ref": join_ref}
        return self._kit.do("push", client=self._number, topic=topic, event=event, **join, **payload(value))

    def frame(self, frame):
        self._kit.do("frame", client=self._number, frame=frame)

    def next(self):
        """Takes the next received frame, bytes, or `{"closed": CODE}`. Returns `None` if nothing was received."""
        received = self._kit.do("next", client=self._number)
        if received is None or "closed" in received:
            return received
        return received["frame"] if "frame" in received else base64.b64decode(received["binary_base64"])

    def close(self):
        self._kit.do("close", client=self._number)


class Kit:
    """A host without clients. `command` is `bennu kit`, `channels` has a channel for each pattern, and `host` has the options."""

    def __init__(self, command, channels, **host):
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")
        self.reload(channels)
        self.do("host", **host)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.stdout.close()
        if self._process.wait() != 0:
            raise Misunderstood(f"bennu kit ended with {self._process.returncode}")

    def reload(self, channels):
        """Serves these channels from now on. Members and rooms stay."""
        self._channels = channels
        self.do("routes", routes=[{"pattern": pattern, **channel.route} for pattern, channel in channels.items()])

    def connect(self, **identity):
        return Client(self, self.do("connect", **identity))

    def do(self, what, **fields):
        """Sends a command, and runs the callbacks that the host calls for it. Returns the host's answer."""
        self._write({"do": what, **fields})
        while True:
            line = self._read()
            if "call" not in line:
                return answer(line)
            self._serve(line)

    def _ask(self, what, fields):
        self._write({"ask": what, **fields})
        return answer(self._read())

    def _serve(self, line):
        try:
            returned = self._run(Call(self, line))
        except Fault as fault:
            self._write({"fail": str(fault)})
        except Fail as error:
            self._write({"fail": str(error)})
        else:
            self._write({"return": returned})

    def _run(self, call):
        channel, name = self._channel_of(call.topic), call["call"]
        try:
            given = getattr(channel, name)(call)
        except Refuse as refused:
            if name == "join":
                return {"refuse": payload(refused.response)}
            if name not in ("handle_in", "handle_message"):
                raise Fail(f"{name}: {refused.response}") from refused
            # Nothing else of the callback happens.
            call.ask("discard")
            call.assigns, call.room = json.loads(call._before)
            given = Reply(refused.response, "error")
        if name == "join":
            room = call.returned(None).get("room", Ellipsis)
            changed = {} if room is Ellipsis else {"room": room}
            return {"assigns": call.assigns, **changed, **payload(given)}
        if name == "handle_out":
            return given.fields()
        if name == "upgrade":
            return {} if given is None else {"state": given}
        if name == "upgrade_entry":
            return {} if given is None else {"value": given}
        return call.returned(given)

    def _channel_of(self, topic):
        """The exact pattern, or else the longest prefix."""
        prefixes = [pattern for pattern in self._channels if pattern.endswith("*") and topic.startswith(pattern[:-1])]
        pattern = topic if topic in self._channels else max(prefixes, key=len)
        return self._channels[pattern]

    def _write(self, line):
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()

    def _read(self):
        line = self._process.stdout.readline()
        if not line:
            raise Misunderstood(f"bennu kit has ended: {self._process.wait()}")
        return json.loads(line)


def answer(line):
    """The host's answer. Raises an error if the host refuses."""
    if "fault" in line:
        raise Fault(line["fault"])
    if "error" in line:
        raise Misunderstood(line["error"])
    return line["ok"]
