import { channel, now, plugin, refuse } from "bennu";

export default plugin({
  "room:*": channel({
    // A member's own state. The host keeps it between calls, and across reloads.
    state: { user: "" },

    join({ user }: { user?: string }, socket) {
      if (!user) refuse("user: expected a string");
      socket.state.user = user;
      socket.broadcastFrom("joined", { user });
      socket.pushPresences();
      socket.track(user, { online_at: now() });
    },

    on: {
      new_msg({ body }: { body: string }, socket) {
        socket.broadcast("new_msg", { user: socket.state.user, body });
        return {};
      },
    },

    leave(cause, socket) {
      socket.broadcast("left", { user: socket.state.user });
    },
  }),
});
