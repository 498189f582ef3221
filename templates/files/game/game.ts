import { channel, plugin, refuse, type Topic } from "bennu";

const SIZE = 5;

export default plugin({
  "game:*": channel({
    state: { user: "" },
    room: { target: { x: 2, y: 2 }, scores: {} as Record<string, number> },

    join({ user }: { user?: string }, socket) {
      if (!user) refuse("user: expected a string");
      socket.state.user = user;
      // A player who loses the connection has ten seconds to come back. Until then the seat and the score stay.
      socket.takeSeat(user, 10_000);
      socket.tick(1_500);
    },

    on: {
      hit({ x, y }: { x: number; y: number }, socket) {
        const { target, scores } = socket.room;
        if (x !== target.x || y !== target.y) refuse("missed");
        scores[socket.state.user] += 1;
        move(socket);
        return {};
      },
    },

    tick(_tick, topic) {
      move(topic);
    },

    seat(change, user, topic) {
      if (change === "taken") topic.room.scores[user] = 0;
      if (change === "gone") delete topic.room.scores[user];
      topic.publishState(topic.room);
    },
  }),
});

function move(topic: Topic) {
  topic.room.target = { x: Math.floor(Math.random() * SIZE), y: Math.floor(Math.random() * SIZE) };
  topic.publishState(topic.room);
}
