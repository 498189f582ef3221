"""The events of the plugin `echo` that the benchmarks use, in Python."""

from bennu import Payload, Socket, channel, on


@channel("bench:*")
class Echo:
    count: int = 0

    @on("parse")
    def parse(self, socket: Socket, payload: Payload):
        return payload

    @on("count")
    def add(self, socket: Socket):
        self.count += 1
        return {"count": self.count}

    @on("build")
    def build(self, socket: Socket):
        return {"build": 1}

    # Longer than a millisecond, so that other calls need instances of their own.
    @on("work")
    def work(self, socket: Socket, rounds: int):
        return {"sum": sum(range(rounds))}
