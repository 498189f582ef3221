// One board: a channel of the official client, the published strokes, and the members. It draws nothing, and calls its watcher.

import { Presence } from "./phoenix.mjs";
import { RoomState } from "./room_state.mjs";

export class Session {
  isJoined = false;
  /** The answer to the join: `id`, `user`, `role`, `owner` and `undo`. */
  me = undefined;
  /** The members: `id`, `name`, `user` and `role` of each. */
  members = [];
  #channel;
  #room;

  /**
   * @param {import("phoenix").Socket} socket
   * @param {string} topic
   * @param {{name?: string, key?: string, token?: string}} params
   * @param {object} watcher `joined`, `changed`, `strokes(room, patch)`, `cursor(cursor)`, `cleared(name)`, `refused(reason)`
   */
  constructor(socket, topic, params, watcher) {
    this.#channel = socket.channel(topic, params);
    // Without `onChange`, a change of a large state costs only the fields that it names.
    this.#room = new RoomState(this.#channel, { onPatch: (patch) => watcher.strokes(this.#room, patch) });
    const presence = new Presence(this.#channel);
    presence.onSync(() => {
      this.members = presence.list((id, { metas: [meta] }) => ({ ...meta, id }));
      watcher.changed();
    });
    this.#channel.on("cursor", (cursor) => watcher.cursor(cursor));
    this.#channel.on("cleared", ({ name }) => watcher.cleared(name));
    for (const lost of ["onClose", "onError"]) {
      this.#channel[lost](() => {
        this.isJoined = false;
        watcher.changed();
      });
    }
    this.#channel
      .join()
      .receive("ok", (me) => {
        Object.assign(this, { me, isJoined: true });
        watcher.joined();
      })
      .receive("error", ({ reason }) => {
        this.leave();
        watcher.refused(reason ?? "");
      });
  }

  /** Sends a message. Without a connection it is dropped. */
  push(event, payload) {
    return this.isJoined ? this.#channel.push(event, payload) : undefined;
  }

  /** Sends a request; resolves to `{answer}` or `{reason}`. */
  ask(event, payload = {}) {
    if (!this.isJoined) return Promise.resolve({ reason: "there is no connection" });
    return new Promise((resolve) => {
      this.#channel
        .push(event, payload)
        .receive("ok", (answer) => resolve({ answer }))
        .receive("error", ({ reason }) => resolve({ reason: reason ?? "" }))
        .receive("timeout", () => resolve({ reason: "the server didn't answer" }));
    });
  }

  leave() {
    this.#room.detach();
    this.#channel.leave();
  }
}
