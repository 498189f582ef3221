"""Plays the scripts of tests/scripts on the test kit of the Python SDK, with the plugin `naughty` in Python.

BENNU=path/to/bennu PYTHONPATH=sdk/python python3 scripts_of_sdk.py path/to/bennu.toml SCRIPT...
"""

import json
import sys
from pathlib import Path

# Behind this folder, whose `naughty` is another one.
sys.path.append(str(Path(__file__).resolve().parent.parent))

import naughty as first
import scripts
import second
from bennu._channel import channels_of
from bennu.testing import _host as _host
from bennu.testing._kit import Kit


class Client:
    """A client, as the scripts use one."""

    def __init__(self, kit: "SdkKit", number: int) -> None:
        self._kit, self._number = kit, number

    def push(self, topic, event, value, join_ref=None):
        return self._kit.do("push", client=self._number, topic=topic, event=event, join_ref=join_ref, payload_text=json.dumps(value))

    def frame(self, frame):
        self._kit.do("frame", client=self._number, frame=frame)

    def next(self):
        received = self._kit.do("next", client=self._number)
        return received if received is None or "closed" in received else received.get("frame", received)

    def close(self):
        self._kit.do("close", client=self._number)


class SdkKit(Kit):
    """The test kit of the SDK, with clients."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def connect(self, **identity):
        return Client(self, self.do("connect", **identity))


def start():
    kit = SdkKit(channels_of(first))
    kit.do("host", **options)
    return kit


def reload(kit, build):
    kit.serve(channels_of(second if build else first))


if __name__ == "__main__":
    config, *wanted = sys.argv[1:]
    options = scripts.granted(config)
    scripts.play_all(wanted, start, reload)
