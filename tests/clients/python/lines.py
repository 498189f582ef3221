"""How a client that is a program of its own talks with its test: JSON, a line each, both ways."""

import json
import sys
import threading

# A client hears on threads of its own, and two lines must not mix.
_one_at_a_time = threading.Lock()


def say(*words):
    """Tells the test something."""
    with _one_at_a_time:
        print(json.dumps(words), flush=True)


def orders():
    """What the test asks for, until it asks for nothing more."""
    return map(json.loads, sys.stdin)
