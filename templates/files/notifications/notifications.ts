import { channel, now, plugin, refuse, store, uniqueId } from "bennu";

export default plugin({
  // Each user has a topic, such as `inbox:ada`.
  "inbox:*": channel({
    join(_params, socket) {
      // With tokens, let only the owner in: if (socket.topic !== `inbox:${socket.user}`) refuse("not yours");
      return { unread: store.list({ prefix: `${socket.topic}/` }).map(([, note]) => note) };
    },

    on: {
      // All windows of the user drop a note that was read in one of them.
      read({ id }: { id: string }, socket) {
        store.delete(`${socket.topic}/${id}`);
        socket.broadcast("read", { id });
        return {};
      },
      tell({ user, text }: { user: string; text: string }, socket) {
        socket.send(`inbox:${user}`, "notify", { text });
        return {};
      },
    },

    // Messages to the topic, also from other programs: bennu send inbox:ada notify '{"text": "hi"}'
    message: {
      notify({ text }: { text: string }, topic) {
        if (topic.topic.includes("/")) refuse("an inbox has no / in its name");
        const note = { id: uniqueId(), text, at: now() };
        store.put(`${topic.topic}/${note.id}`, note);
        topic.broadcast("notified", note);
        return { id: note.id };
      },
    },
  }),
});
