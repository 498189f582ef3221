// The channel of the test of projects in TypeScript: everything that a host does for a channel, with a build number that the test changes.
import { channel, plugin, refuse, store } from "bennu";

const build = 1;

const second = (list: number[]) => list[1].toFixed();

const room = channel({
  state: { user: "", sent: 0 },
  room: { messages: 0 },

  join({ user }: { user?: string }, socket) {
    if (!user) refuse("user: missing, expected a string");
    socket.state.user = user;
    const visits = (store.get<number>(`visits/${user}`) ?? 0) + 1;
    store.put(`visits/${user}`, visits);
    socket.broadcastFrom("joined", { user });
    socket.pushPresences();
    socket.track(user, { build });
    return { visits };
  },

  on: {
    new_msg(payload: object, socket) {
      socket.state.sent += 1;
      socket.room.messages += 1;
      socket.broadcast("new_msg", { user: socket.state.user, payload });
      return { sent: socket.state.sent, messages: socket.room.messages, build };
    },
    remind({ ms }: { ms: number }, socket) {
      socket.sendAfter(ms, "reminder", { sent: socket.state.sent });
      return {};
    },
    refused(_: unknown, socket) {
      socket.state.sent = 1000;
      refuse("no");
    },
    crash: () => second([]),
  },

  info: {
    reminder: (payload: object, socket) => socket.push("reminder", { payload, build }),
  },
});

export default plugin({ "room:*": room });
