from dataclasses import dataclass, field
from random import randrange

from bennu import Socket, Tick, Topic, channel, on, refuse

SIZE = 5


@dataclass
class Place:
    x: int = 2
    y: int = 2


@dataclass
class Game:
    target: Place = field(default_factory=Place)
    scores: dict[str, int] = field(default_factory=dict)


@channel("game:*", room=Game)
class Player:
    user: str = ""

    def join(self, socket: Socket[Game], user: str):
        self.user = user
        # A player who loses the connection has ten seconds to come back. Until then the seat and the score stay.
        socket.take_seat(user, 10_000)
        socket.tick(1_500)

    @on("hit")
    def hit(self, socket: Socket[Game], x: int, y: int):
        if socket.room.target != Place(x, y):
            refuse("missed")
        socket.room.scores[self.user] += 1
        move(socket)
        return {}

    @staticmethod
    def tick(topic: Topic[Game], tick: Tick):
        move(topic)

    @staticmethod
    def seat(topic: Topic[Game], change: str, user: str):
        if change == "taken":
            topic.room.scores[user] = 0
        if change == "gone":
            topic.room.scores.pop(user, None)
        topic.publish_state(topic.room)


def move(topic: Topic[Game]):
    topic.room.target = Place(randrange(SIZE), randrange(SIZE))
    topic.publish_state(topic.room)
