import { channel, plugin, refuse, type Topic } from "bennu";

const CHOICES = ["tea", "coffee", "water"];

export default plugin({
  "poll:*": channel({
    // A member's own state.
    state: { user: "" },
    // The state that all members of a topic share: the choice of each user.
    room: { votes: {} as Record<string, string> },

    join({ user }: { user?: string }, socket) {
      if (!user) refuse("user: expected a string");
      socket.state.user = user;
      show(socket);
    },

    on: {
      vote({ choice }: { choice: string }, socket) {
        if (!CHOICES.includes(choice)) refuse(`choice: expected one of ${CHOICES.join(", ")}`);
        socket.room.votes[socket.state.user] = choice;
        show(socket);
        return {};
      },
    },
  }),
});

/** Publishes the counts. Clients get the whole state when they join, and then only what has changed. */
function show(topic: Topic) {
  const counts: Record<string, number> = Object.fromEntries(CHOICES.map((choice) => [choice, 0]));
  for (const choice of Object.values(topic.room.votes) as string[]) counts[choice] += 1;
  topic.publishState({ counts });
}
