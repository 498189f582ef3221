import { channel, plugin, refuse, schedule, type Topic } from "bennu";

const CHOICES = ["tea", "coffee", "water"];
const ROUND_MS = 60_000;

type Poll = { votes: Record<string, string>; winner: string | null };

export default plugin({
  "poll:*": channel({
    // A member's own state.
    state: { user: "" },
    // The state that all members of a topic share: the choice of each user, and who won the last round. It is stored.
    room: { votes: {}, winner: null } as Poll,
    durable: true,

    join({ user }: { user?: string }, socket) {
      if (!user) refuse("user: expected a string");
      socket.state.user = user;
      show(socket);
    },

    on: {
      vote({ choice }: { choice: string }, socket) {
        if (!CHOICES.includes(choice)) refuse(`choice: expected one of ${CHOICES.join(", ")}`);
        const { votes } = socket.room;
        // The first vote begins a round.
        if (Object.keys(votes).length === 0) schedule.after(socket.topic, ROUND_MS, "round", "end");
        votes[socket.state.user] = choice;
        show(socket);
        return {};
      },
    },

    // Comes at its time, also if everybody has left, and late if the host didn't run.
    topicInfo: {
      end(_: unknown, topic) {
        const counts = count(topic.room);
        topic.room.winner = CHOICES.reduce((best, choice) => (counts[choice] > counts[best] ? choice : best));
        topic.room.votes = {};
        show(topic);
      },
    },
  }),
});

function count({ votes }: Poll) {
  const counts: Record<string, number> = Object.fromEntries(CHOICES.map((choice) => [choice, 0]));
  for (const choice of Object.values(votes)) counts[choice] += 1;
  return counts;
}

/** Publishes the counts. Clients get the whole state when they join, and then only what has changed. */
function show(topic: Topic<Poll>) {
  topic.publishState({ counts: count(topic.room), winner: topic.room.winner });
}
