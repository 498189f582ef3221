"""The connection of a client program with its test: lines of JSON in both directions."""

import json
import sys
import threading

# A client library calls back on its own threads. The lock keeps lines of several threads apart.
_one_at_a_time = threading.Lock()


def say(*words):
    """Sends a line to the test."""
    with _one_at_a_time:
        print(json.dumps(words), flush=True)


def orders():
    """The test's commands, until the input ends."""
    return map(json.loads, sys.stdin)
