"""Topics that publish the entries with the prefixes `p/` and `q/`: `public:*` of the plugin `naughty`."""

from bennu_kit import Channel, Fail, Reply
from entries import Entries

OK = Reply({})


class Public(Channel):
    route = {"options": {"room": "memory", "linger-ms": "100", "publishes": ["p/", "q/"]}}

    def join(self, call):
        call.assigns = {}
        for prefix in call.payload.get("follow") or []:
            call.ask("follow", prefix=prefix)
        self.put(call, call.payload.get("put") or {})
        return {}

    @staticmethod
    def put(call, wanted):
        for key, value in wanted.items():
            if value is None:
                Entries(call).delete(key)
            else:
                Entries(call).put(key, value)

    def handle_in(self, call):
        if call.event in ("put", "put_then_fail"):
            self.put(call, call.payload)
            if call.event == "put_then_fail":
                raise Fail("asked to fail after a put")
        elif call.event in ("follow", "unfollow"):
            call.ask(call.event, prefix=call.payload["prefix"])
        elif call.event == "follows":
            for number in range(call.payload["count"]):
                call.ask("follow", prefix=f"{call.payload['prefix']}{number}")
        elif call.event == "publish":
            call.ask("publish_state", state=call.payload["state"])
        elif call.event == "put_null":
            Entries(call).put("p/null", None)
        elif call.event == "put_messagepack":
            Entries(call).put_bytes("p/text", b"\xa4text")
        elif call.event == "put_much":
            for number in range(3):
                Entries(call).put(f"p/{number}", "x" * 1_000_000)
        else:
            return super().handle_in(call)
        return OK

    def handle_message(self, call):
        if call.event != "put":
            return super().handle_message(call)
        self.put(call, call.payload)
        return OK
