// One room as this window sees it: a channel of the official client, and what was said there since we came.
//
// Who is here is what the client's own Presence makes of the host's lists. The room knows nothing of how it looks: every
// change ends in `changed(room)`, every new line in `added(room, line)`.

import { Presence } from "./phoenix.mjs";

/** Nobody types for longer than this without saying so again. */
const TYPING_FADES = 5_000;
/** How often we say that we are still typing: within the time that it takes to fade. */
const TYPING_AGAIN = 3_000;
/** A message that takes longer than this is shown as being on its way. */
const ON_ITS_WAY = 300;

export class Room {
  /**
   * @param {import("phoenix").Socket} socket
   * @param {string} name the part of the topic after `room:`
   * @param {string} user
   * @param {{changed: (room: Room) => void, added: (room: Room, line: object) => void}} watcher
   */
  constructor(socket, name, user, watcher) {
    this.name = name;
    this.user = user;
    this.watcher = watcher;
    /** `joining`, `joined`, `rejoining`, `refused` or `closed` */
    this.state = "joining";
    /** Why we were refused, as the plugin puts it. */
    this.reason = "";
    /** Messages that came while another room was looked at. */
    this.unread = 0;
    /** What we sent and nobody has confirmed yet. */
    this.pending = [];
    /** Who types, with the timer that ends it. */
    this.typing = new Map();
    this.saidTyping = 0;
    /** The names of those who are here, in the order in which they came. */
    this.people = [];
    this.left = false;
    this.channel = this.#open(socket);
  }

  say(body) {
    const message = { body, state: "sent" };
    this.stopTyping();
    this.#deliver(message);
  }

  /** Sends a message again that could not be delivered. */
  retry(message) {
    this.#forget(message);
    this.#deliver({ body: message.body, state: "sent" });
  }

  /** Tells the others that we type, but not at each key. */
  type() {
    if (this.state !== "joined" || Date.now() - this.saidTyping < TYPING_AGAIN) return;
    this.saidTyping = Date.now();
    this.channel.push("typing", { typing: true });
  }

  stopTyping() {
    if (this.saidTyping === 0) return;
    this.saidTyping = 0;
    if (this.state === "joined") this.channel.push("typing", { typing: false });
  }

  leave() {
    this.left = true;
    for (const timer of this.typing.values()) clearTimeout(timer);
    this.channel.leave();
  }

  #open(socket) {
    const channel = socket.channel(`room:${this.name}`, { user: this.user });
    channel.on("new_msg", (message) => {
      this.#fade(message.user);
      this.#add({ kind: "message", ...message });
    });
    channel.on("typing", ({ user, typing }) => this.#typing(user, typing));
    this.#watchPeople(new Presence(channel));
    channel.onError(() => {
      if (this.state === "joined") this.#become("rejoining");
    });
    channel.onClose(() => {
      if (!this.left && this.state !== "refused") this.#become("closed");
    });
    channel
      .join()
      .receive("ok", () => {
        // The client joins again by itself, after a lost connection or when the plugin failed.
        if (this.state === "rejoining") this.#add({ kind: "note", text: "Back again", back: true });
        this.#become("joined");
      })
      .receive("error", ({ reason }) => {
        this.reason = String(reason ?? "");
        this.#become("refused");
        // It would knock again for ever otherwise.
        channel.leave();
      });
    return channel;
  }

  #watchPeople(presence) {
    let known = false; // those who were here before us didn't come in just now
    presence.onJoin((user, before) => {
      if (known && !before && user !== this.user) this.#add({ kind: "note", text: `${user} came in` });
    });
    presence.onLeave((user, remaining) => {
      if (remaining.metas.length > 0) return; // another window of theirs is still open
      this.#fade(user);
      if (user !== this.user) this.#add({ kind: "note", text: `${user} left` });
    });
    presence.onSync(() => {
      known = true;
      const came = (metas) => Math.min(...metas.map((meta) => meta.online_at));
      const people = presence.list((user, { metas }) => ({ user, at: came(metas) }));
      this.people = people.sort((one, other) => one.at - other.at).map(({ user }) => user);
      this.watcher.changed(this);
    });
  }

  #deliver(message) {
    this.pending.push(message);
    const slow = setTimeout(() => this.#mark(message, "waiting"), ON_ITS_WAY);
    const fail = ({ reason } = {}) => {
      clearTimeout(slow);
      message.reason = reason;
      this.#mark(message, "failed");
    };
    this.channel
      .push("new_msg", { body: message.body })
      .receive("ok", () => {
        clearTimeout(slow);
        // Our own message comes to us as to everyone, so there is nothing to add here.
        this.#forget(message);
      })
      .receive("error", fail)
      .receive("timeout", fail);
  }

  #mark(message, state) {
    message.state = state;
    this.watcher.changed(this);
  }

  #forget(message) {
    this.pending = this.pending.filter((other) => other !== message);
    this.watcher.changed(this);
  }

  #typing(user, typing) {
    if (user === this.user) return;
    this.#fade(user);
    if (typing) this.typing.set(user, setTimeout(() => this.#typing(user, false), TYPING_FADES));
    this.watcher.changed(this);
  }

  #fade(user) {
    clearTimeout(this.typing.get(user));
    if (this.typing.delete(user)) this.watcher.changed(this);
  }

  #add(line) {
    this.watcher.added(this, line);
  }

  #become(state) {
    this.state = state;
    if (state !== "joined") {
      for (const user of [...this.typing.keys()]) this.#fade(user);
    }
    this.watcher.changed(this);
  }
}
