// One room as this window sees it: a channel of the official client, and what was said there.
//
// Lines stand in the order of their keys. A message's key is its id, and ids sort as they were drawn; a note's stands behind
// the message that was the last one then. So whatever comes, live, after a lost connection or from further up, finds its
// place, and what comes twice is there once.
//
// Who is here is what the client's own Presence makes of the host's lists. The room knows nothing of how it looks: every
// change ends in `changed(room)`.

import { Presence } from "./phoenix.mjs";

/** Nobody types for longer than this without saying so again. */
const TYPING_FADES = 5_000;
/** How often we say that we are still typing: within the time that it takes to fade. */
const TYPING_AGAIN = 3_000;
/** A message that takes longer than this is shown as being on its way. */
const ON_ITS_WAY = 300;
/** So often a message is sent by itself, if the connection is lost each time. */
const ATTEMPTS = 5;

export class Room {
  /**
   * @param {import("phoenix").Socket} socket
   * @param {string} name the part of the topic after `room:`
   * @param {{user: string, key: string}} me the key makes us the author of what we say
   * @param {{changed: (room: Room) => void, caughtUp: (room: Room) => void}} watcher
   */
  constructor(socket, name, me, watcher) {
    this.name = name;
    this.user = me.user;
    this.watcher = watcher;
    /** `joining`, `joined`, `rejoining`, `refused` or `closed` */
    this.state = "joining";
    /** Why we were refused, as the plugin puts it. */
    this.reason = "";
    /** What stands with our own messages, and with nobody else's. */
    this.author = undefined;
    /** Messages and notes, in the order of their keys. */
    this.lines = [];
    /** All that happened up to this message or change is known here. */
    this.known = "";
    /** Whether there are older messages than the first here, and whether they were asked for. */
    this.more = false;
    this.asking = false;
    /** The last message that was looked at, kept for the next visit; and the one behind which the new ones began. */
    this.read = localStorage.getItem(this.#shelf) ?? undefined;
    this.divider = undefined;
    /** The message that is being changed. */
    this.editing = undefined;
    /** What we sent and nobody has confirmed yet. */
    this.pending = [];
    /** Who types, with the timer that ends it. */
    this.typing = new Map();
    this.saidTyping = 0;
    /** The names of those who are here, in the order in which they came. */
    this.people = [];
    this.left = false;
    this.notes = 0;
    this.channel = this.#open(socket, me);
  }

  // --- what was said ---

  isMine(message) {
    return this.author !== undefined && message.author === this.author;
  }

  get messages() {
    return this.lines.filter((line) => line.kind === "message");
  }

  /** The last message of ours, of those before `id` if one is given. */
  lastOwn(id = "~") {
    return this.messages.findLast((line) => line.key < id && !line.deleted && this.isMine(line));
  }

  /** The first message of ours behind `id`. */
  nextOwn(id) {
    return this.messages.find((line) => line.key > id && !line.deleted && this.isMine(line));
  }

  find(id) {
    const line = this.lines[this.#place(id)];
    return line?.key === id ? line : undefined;
  }

  /** How many messages of others came that nobody has looked at here. */
  get unread() {
    if (this.read === undefined) return 0;
    return this.messages.filter((line) => line.key > this.read && !line.deleted && !this.isMine(line)).length;
  }

  /** All that is here has been looked at. */
  see() {
    const last = this.messages.at(-1)?.key ?? "";
    if (this.read !== undefined && last <= this.read) return;
    this.read = last;
    localStorage.setItem(this.#shelf, last);
  }

  /** Asks for the messages before the first one here. */
  older() {
    const first = this.messages[0];
    if (!this.more || this.asking || this.state !== "joined" || !first) return;
    this.asking = true;
    const done = () => {
      this.asking = false;
      this.watcher.changed(this);
    };
    this.channel
      .push("older", { before: first.key })
      .receive("ok", ({ messages, more }) => {
        // Unless it was forgotten meanwhile what they come before.
        if (this.messages[0] === first) {
          for (const message of messages) this.#take(message);
          this.more = more;
        }
        done();
      })
      .receive("error", done)
      .receive("timeout", done);
    this.watcher.changed(this);
  }

  /** Forgets the oldest lines but so many. */
  trim(most) {
    if (this.lines.length <= most || this.asking) return;
    const gone = this.lines.splice(0, this.lines.length - most);
    this.more ||= gone.some((line) => line.kind === "message");
  }

  // --- what we do ---

  say(body) {
    const nonce = [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0"));
    const message = { nonce: nonce.join(""), body, state: "sent", attempts: 0 };
    this.stopTyping();
    this.divider = undefined;
    this.pending.push(message);
    this.#deliver(message);
  }

  /** Sends a message again that could not be delivered: by the same nonce, or it might be said twice. */
  retry(message) {
    message.state = "sent";
    message.attempts = 0;
    this.#deliver(message);
    this.watcher.changed(this);
  }

  /** Gives a message of ours another text. */
  edit(id, body) {
    this.#change("edit", { id, body }, "Your change wasn't saved");
  }

  /** Takes the text of a message of ours away. */
  delete(id) {
    this.#change("delete", { id }, "Your message wasn't deleted");
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
    for (const { slow } of this.pending) clearTimeout(slow);
    this.channel.leave();
  }

  // --- the channel ---

  #open(socket, { user, key }) {
    // Asked for at each join: one after a lost connection tells what is known by then.
    const channel = socket.channel(`room:${this.name}`, () => ({ user, key, since: this.known }));
    channel.on("new_msg", (message) => {
      this.#fade(message.user);
      this.#take(message, true);
      this.watcher.changed(this);
    });
    channel.on("edited", (change) => this.#changed(change));
    channel.on("deleted", (change) => this.#changed({ ...change, body: "", deleted: true }));
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
      .receive("ok", (welcome) => this.#welcome(welcome))
      .receive("error", ({ reason }) => {
        this.reason = String(reason ?? "");
        this.#become("refused");
        // It would knock again for ever otherwise.
        channel.leave();
      });
    return channel;
  }

  /** We are in, for the first time or again: the client joins by itself after a lost connection, or a plugin's failure. */
  #welcome({ author, messages, more, anew }) {
    this.author = author;
    this.asking = false;
    if (this.state === "rejoining") this.#note("Back again", true);
    if (anew) {
      this.lines = this.lines.filter((line) => line.kind === "note");
      this.more = more;
    }
    for (const message of messages) this.#take(message);
    // On the first visit nothing is new.
    if (this.read === undefined) this.see();
    if (this.unread > 0) this.divider = this.read;
    this.state = "joined";
    this.watcher.caughtUp(this);
    for (const message of this.pending) if (message.state !== "failed") this.#deliver(message);
  }

  #watchPeople(presence) {
    let known = false; // those who were here before us didn't come in just now
    presence.onJoin((user, before) => {
      if (known && !before && user !== this.user) this.#note(`${user} came in`);
    });
    presence.onLeave((user, remaining) => {
      if (remaining.metas.length > 0) return; // another window of theirs is still open
      this.#fade(user);
      if (user !== this.user) this.#note(`${user} left`);
    });
    presence.onSync(() => {
      known = true;
      const came = (metas) => Math.min(...metas.map((meta) => meta.online_at));
      const people = presence.list((user, { metas }) => ({ user, at: came(metas) }));
      this.people = people.sort((one, other) => one.at - other.at).map(({ user }) => user);
      this.watcher.changed(this);
    });
  }

  /** Sends a message, once we are in. If the connection is lost before the answer, it is sent again. */
  #deliver(message) {
    clearTimeout(message.slow);
    message.slow = setTimeout(() => this.#mark(message, "waiting"), ON_ITS_WAY);
    if (this.state !== "joined") return;
    const attempt = ++message.attempts;
    const fail = ({ reason } = {}) => {
      if (attempt !== message.attempts || !this.pending.includes(message)) return;
      message.reason = reason;
      this.#mark(message, "failed");
    };
    if (attempt > ATTEMPTS) return fail();
    this.channel
      .push("new_msg", { body: message.body, nonce: message.nonce })
      // Our own message comes to us as to everyone, so there is nothing to add here.
      .receive("ok", () => this.#arrived(message.nonce))
      .receive("error", fail)
      // It may have been said all the same: by its nonce it isn't said twice.
      .receive("timeout", () => fail({ reason: "nobody has confirmed this" }));
  }

  #mark(message, state) {
    clearTimeout(message.slow);
    message.state = state;
    this.watcher.changed(this);
  }

  #arrived(nonce) {
    const message = this.pending.find((other) => other.nonce === nonce);
    if (!message) return;
    clearTimeout(message.slow);
    this.pending = this.pending.filter((other) => other !== message);
    this.watcher.changed(this);
  }

  #change(event, change, failure) {
    const fail = ({ reason } = {}) => this.#note(`${failure}${reason ? `: ${reason}` : ""}`);
    const late = () => this.#note("Nobody has confirmed your change");
    this.channel.push(event, change).receive("error", fail).receive("timeout", late);
  }

  // --- lines ---

  /** Puts a message into its place, instead of what was known of it. */
  #take(message, live = false) {
    this.#know(message.id);
    this.#know(message.change ?? "");
    const at = this.#place(message.id);
    const known = this.lines[at]?.key === message.id ? 1 : 0;
    this.lines.splice(at, known, { kind: "message", key: message.id, live, ...message });
    if (message.nonce && this.isMine(message)) this.#arrived(message.nonce);
  }

  /** A message that may be here has changed. */
  #changed({ id, ...change }) {
    this.#know(change.change);
    const line = this.find(id);
    if (line) Object.assign(line, change);
    this.watcher.changed(this);
  }

  #know(id) {
    if (id > this.known) this.known = id;
  }

  #note(text, back = false) {
    this.notes += 1;
    // `~` comes behind all that ids have in them, and `!` before it.
    const last = this.messages.at(-1)?.key ?? "!";
    const key = `${last}~${String(this.notes).padStart(8, "0")}`;
    this.lines.splice(this.#place(key), 0, { kind: "note", key, live: true, text, back });
    this.watcher.changed(this);
  }

  /** Where a line with this key is, or would be. */
  #place(key) {
    let [low, high] = [0, this.lines.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.lines[middle].key < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // --- who types ---

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

  #become(state) {
    this.state = state;
    if (state !== "joined") {
      this.asking = false;
      for (const user of [...this.typing.keys()]) this.#fade(user);
    }
    this.watcher.changed(this);
  }

  /** Where the last message that was read is kept. */
  get #shelf() {
    return `chat-read/${this.name}/${this.user}`;
  }
}
