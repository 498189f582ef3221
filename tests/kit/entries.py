"""The entries of a topic, for a callback: `Entries(call).get("key")`. Values are JSON."""

import base64
import json

from bennu_kit import text


def written(value):
    return text(json.dumps(value).encode())


def read(coded):
    return None if coded is None else json.loads(base64.b64decode(coded))


def bounds(start, end):
    return {name: text(bound.encode()) for name, bound in (("start", start), ("end", end)) if bound is not None}


class Entries:
    """The functions of the host for entries."""

    def __init__(self, call):
        self._ask = call.ask

    def get(self, key):
        return read(self._ask("entry_get", key=text(key.encode())))

    def get_many(self, keys):
        return [read(value) for value in self._ask("entries_get", keys=[text(key.encode()) for key in keys])]

    def put(self, key, value):
        self._ask("entry_put", key=text(key.encode()), value=written(value))

    def put_bytes(self, key, value):
        self._ask("entry_put", key=text(key.encode()), value=text(value))

    def put_many(self, entries):
        self._ask("entries_put", entries=[[text(key.encode()), written(value)] for key, value in entries])

    def delete(self, key):
        self._ask("entry_delete", key=text(key.encode()))

    def scan(self, start=None, end=None, **fields):
        entries = self._ask("entry_scan", **bounds(start, end), **fields)
        return [(base64.b64decode(key).decode(), read(value)) for key, value in entries]

    def delete_range(self, start=None, end=None, **fields):
        return self._ask("entries_delete_range", **bounds(start, end), **fields)
