from collections import Counter
from dataclasses import dataclass, field

from bennu import Socket, Topic, channel, on, refuse, schedule, topic_info

CHOICES = ["tea", "coffee", "water"]
ROUND_MS = 60_000


# The state that all members of a topic share: the choice of each user, and who won the last round. It is stored.
@dataclass
class Poll:
    votes: dict[str, str] = field(default_factory=dict)
    winner: str | None = None


@channel("poll:*", room=Poll, durable=True)
class Voter:
    # A member's own state.
    user: str = ""

    def join(self, socket: Socket[Poll], user: str):
        self.user = user
        show(socket)

    @on("vote")
    def vote(self, socket: Socket[Poll], choice: str):
        if choice not in CHOICES:
            refuse(f"choice: expected one of {', '.join(CHOICES)}")
        # The first vote begins a round.
        if not socket.room.votes:
            schedule.after(socket.topic, ROUND_MS, "round", "end")
        socket.room.votes[self.user] = choice
        show(socket)
        return {}

    # Comes at its time, also if everybody has left, and late if the host didn't run.
    @topic_info("end")
    def end(topic: Topic[Poll]):
        counts = count(topic.room)
        topic.room.winner = max(CHOICES, key=lambda choice: counts[choice])
        topic.room.votes = {}
        show(topic)


def count(poll: Poll) -> dict[str, int]:
    votes = Counter(poll.votes.values())
    return {choice: votes[choice] for choice in CHOICES}


def show(topic: Topic[Poll]):
    """Publishes the counts. Clients get the whole state when they join, and then only what has changed."""
    topic.publish_state({"counts": count(topic.room), "winner": topic.room.winner})
