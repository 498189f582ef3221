"""The events about entries, for the plugin `naughty` in Python."""

from bennu_kit import Channel, Fail, Refuse, Reply
from entries import Entries

OK = Reply()


def field(call, name):
    if not isinstance(call.payload, dict) or name not in call.payload:
        raise Refuse({"reason": f"{name}: missing"})
    return call.payload[name]


def optional(call, name):
    return call.payload.get(name) if isinstance(call.payload, dict) else None


class WithEntries(Channel):
    """The events about entries."""

    def entry_event(self, call):
        """Handles the event if it is about entries. Returns whether it is, and the answer."""
        act = getattr(self, f"on_{call.event}", None) if call.event.startswith(("entry_", "entries")) else None
        return act is not None, act and act(call)

    def on_entry_put(self, call):
        Entries(call).put(field(call, "key"), field(call, "value"))
        return OK

    def on_entry_get(self, call):
        return Reply(Entries(call).get(field(call, "key")))

    def on_entry_delete(self, call):
        Entries(call).delete(field(call, "key"))
        return OK

    def on_entries(self, call):
        prefix, after = field(call, "prefix"), optional(call, "after")
        limit = {} if optional(call, "limit") is None else {"limit": call.payload["limit"]}
        backward = bool(optional(call, "backward"))
        start = prefix if after is None else after + "\0"
        entries = Entries(call).scan(start, optional(call, "before"), backward=backward, **limit)
        return Reply([entry for entry in entries if entry[0].startswith(prefix)])

    def on_entries_put(self, call):
        Entries(call).put_many(field(call, "entries"))
        return OK

    def on_entries_get(self, call):
        return Reply(Entries(call).get_many(field(call, "keys")))

    def on_entries_clear(self, call):
        return Reply({"deleted": Entries(call).delete_range(limit=field(call, "limit"))})

    def on_entries_own(self, call):
        key, entries = field(call, "key"), Entries(call)
        read = [entries.get(key)]
        entries.put(key, 1)
        read.append(entries.get(key))
        entries.delete(key)
        read.append(entries.get(key))
        entries.put(key, 2)
        return Reply([*read, entries.get(key)])

    def on_entry_read_then_fail(self, call):
        self.on_entry_get(call)
        raise Fail("asked to fail after a read")

    def on_entry_then_fail(self, call):
        self.on_entry_put(call)
        raise Fail("asked to fail after a put")

    def on_entry_then_refuse(self, call):
        self.on_entry_put(call)
        raise Refuse({"reason": "too late"})

    def on_entry_after_discard(self, call):
        call.ask("discard")
        return self.on_entry_put(call)

    def on_entry_no_key(self, call):
        Entries(call).put("", 1)

    def on_entry_long_key(self, call):
        Entries(call).put("k" * 256, 1)

    def on_entry_long_value(self, call):
        Entries(call).put("ballast/k", "x" * (1 << 20))

    def on_entries_many(self, call):
        Entries(call).put_many([(f"many/{number}", number) for number in range(4097)])

    def on_entries_much(self, call):
        for number in range(5):
            Entries(call).put(f"ballast/{number}", "x" * 1_000_000)

    def on_entries_get_many(self, call):
        Entries(call).get_many([str(number) for number in range(1001)])
