"""The channel of the test of projects in Python: everything that a host does for a channel, with a build number that the test changes."""

from dataclasses import dataclass

from bennu import Payload, Socket, channel, info, on, refuse, store

BUILD = 1


@dataclass
class Room:
    messages: int = 0


@channel("room:*", room=Room)
class Member:
    user: str = ""
    sent: int = 0

    def join(self, socket: Socket[Room], user: str):
        self.user = user
        visits = store.get(f"visits/{user}", 0) + 1
        store.put(f"visits/{user}", visits)
        socket.broadcast_from("joined", user=user)
        socket.push_presences()
        socket.track(user, build=BUILD)
        return {"visits": visits}

    @on("new_msg")
    def say(self, socket: Socket[Room], payload: Payload):
        self.sent += 1
        socket.room.messages += 1
        socket.broadcast("new_msg", user=self.user, payload=payload)
        return {"sent": self.sent, "messages": socket.room.messages, "build": BUILD}

    @on("remind")
    def remind(self, socket: Socket[Room], ms: int):
        socket.send_after(ms, "reminder", sent=self.sent)
        return {}

    @on("refused")
    def refuse_it(self, socket: Socket[Room]):
        self.sent = 1000
        refuse("no")

    @on("crash")
    def crash(self, socket: Socket[Room]):
        return {"second": second([])}

    @info("reminder")
    def reminder(self, socket: Socket[Room], payload: Payload):
        socket.push("reminder", payload=payload, build=BUILD)


def second(items: list[int]) -> int:
    return items[1]
