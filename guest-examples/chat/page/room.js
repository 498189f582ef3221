// One room in this window: a channel of the official client, and the room's messages.
//
// Lines are sorted by their keys. A message's key is its id, and a later id is always greater. A note's key sorts right after
// the message that was the last one at that time. So every message finds its place: a live one, one that was missed while the
// connection was lost, and an older one. A message that comes twice is shown once.
//
// The list of people comes from the client's own Presence. The room doesn't draw anything: after every change it calls
// `changed(room)`.

import { Presence } from "./phoenix.mjs";
import { recover } from "./recover.mjs";

/** A user counts as typing for this time after the last `typing` event. */
const TYPING_FADES = 5_000;
/** The interval of our own `typing` events; it is shorter than that time. */
const TYPING_AGAIN = 3_000;
/** A message without an answer after this time is shown as on its way. */
const ON_ITS_WAY = 300;
/** The number of automatic attempts to send a message, if the connection is lost each time. */
const ATTEMPTS = 5;

export class Room {
  /**
   * @param {import("phoenix").Socket} socket
   * @param {string} name the part of the topic after `room:`
   * @param {{user: string, key: string}} me the key identifies the author of our messages
   * @param {{changed: (room: Room) => void, caughtUp: (room: Room) => void}} watcher
   */
  constructor(socket, name, me, watcher) {
    this.name = name;
    this.user = me.user;
    this.watcher = watcher;
    /** `joining`, `joined`, `rejoining`, `refused` or `closed` */
    this.state = "joining";
    /** The plugin's reason for a refused join. */
    this.reason = "";
    /** The author id of our own messages. */
    this.author = undefined;
    /** Messages and notes, sorted by key. */
    this.lines = [];
    /** The latest message or change that this room has received. */
    this.known = "";
    /** Whether all messages are here that were broadcast before the connection was lost. */
    this.isCurrent = false;
    /** Whether missed messages are arriving now, which are shown together. */
    this.isCatchingUp = false;
    /** Whether there are messages older than the first one here, and whether they are being requested. */
    this.more = false;
    this.asking = false;
    /** The last message that was read, stored for the next visit; and the message after which the new ones begin. */
    this.read = localStorage.getItem(this.#shelf) ?? undefined;
    this.divider = undefined;
    /** The message that is being edited. */
    this.editing = undefined;
    /** Our messages without a confirmation. */
    this.pending = [];
    /** Users who are typing, each with the timer that ends it. */
    this.typing = new Map();
    this.saidTyping = 0;
    /** The names of the people in the room, in the order in which they joined. */
    this.people = [];
    this.left = false;
    this.notes = 0;
    this.channel = this.#open(socket, me);
  }

  // --- messages ---

  isMine(message) {
    return this.author !== undefined && message.author === this.author;
  }

  get messages() {
    return this.lines.filter((line) => line.kind === "message");
  }

  /** Our last message; if `id` is given, our last message before it. */
  lastOwn(id = "~") {
    return this.messages.findLast((line) => line.key < id && !line.deleted && this.isMine(line));
  }

  /** Our first message after `id`. */
  nextOwn(id) {
    return this.messages.find((line) => line.key > id && !line.deleted && this.isMine(line));
  }

  find(id) {
    const line = this.lines[this.#place(id)];
    return line?.key === id ? line : undefined;
  }

  /** The number of unread messages of other users. */
  get unread() {
    if (this.read === undefined) return 0;
    return this.messages.filter((line) => line.key > this.read && !line.deleted && !this.isMine(line)).length;
  }

  /** Marks all messages as read. */
  see() {
    const last = this.messages.at(-1)?.key ?? "";
    if (this.read !== undefined && last <= this.read) return;
    this.read = last;
    localStorage.setItem(this.#shelf, last);
  }

  /** Requests the messages before the first one here. */
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
        // Only if the first message is still the same.
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

  /** Removes the oldest lines, so that at most `most` remain. */
  trim(most) {
    if (this.lines.length <= most || this.asking) return;
    const gone = this.lines.splice(0, this.lines.length - most);
    this.more ||= gone.some((line) => line.kind === "message");
  }

  // --- our actions ---

  say(body) {
    const nonce = [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0"));
    const message = { nonce: nonce.join(""), body, state: "sent", attempts: 0 };
    this.stopTyping();
    this.divider = undefined;
    this.pending.push(message);
    this.#deliver(message);
  }

  /** Sends an undelivered message again, with the same nonce, so that the plugin doesn't store it twice. */
  retry(message) {
    message.state = "sent";
    message.attempts = 0;
    this.#deliver(message);
    this.watcher.changed(this);
  }

  /** Changes the text of one of our messages. */
  edit(id, body) {
    this.#change("edit", { id, body }, "Your change wasn't saved");
  }

  /** Deletes the text of one of our messages. */
  delete(id) {
    this.#change("delete", { id }, "Your message wasn't deleted");
  }

  /** Tells the others that we are typing, but not at each key. */
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
    // Called at each join. After a lost connection, the host sends what was broadcast meanwhile, so `known` isn't needed.
    const channel = socket.channel(`room:${this.name}`, () => ({ user, key, ...(this.isCurrent ? {} : { known: this.known }) }));
    recover(channel, { onMissed: () => this.#catchUp(), onRecovered: () => this.#caughtUp() });
    channel.on("new_msg", (message) => {
      this.#fade(message.user);
      this.#take(message, !this.isCatchingUp);
      this.#draw();
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
        // Otherwise the client would try to join again forever.
        channel.leave();
      });
    return channel;
  }

  /** A join has succeeded: the first one, or an automatic one after a lost connection or a plugin's fault. */
  #welcome({ author, ...news }) {
    this.author = author;
    this.asking = false;
    if (this.state === "rejoining") this.#note("Back again", true);
    this.state = "joined";
    if (news.messages) this.#learn(news);
    else this.isCatchingUp = true;
    for (const message of this.pending) if (message.state !== "failed") this.#deliver(message);
  }

  /** The host no longer has all that was broadcast while the connection was lost. So the plugin is asked for what it has stored. */
  #catchUp() {
    // If the connection is lost before the answer, the next join asks.
    this.isCurrent = false;
    this.channel.push("missed", { known: this.known }).receive("ok", (news) => this.#learn(news));
  }

  /** Takes the messages that we didn't know. */
  #learn({ messages, more, anew }) {
    if (anew) {
      this.lines = this.lines.filter((line) => line.kind === "note");
      this.more = more;
    }
    for (const message of messages) this.#take(message);
    this.isCurrent = true;
    this.#caughtUp();
  }

  #draw() {
    if (!this.isCatchingUp) this.watcher.changed(this);
  }

  #caughtUp() {
    this.isCatchingUp = false;
    // On the first visit no message is new.
    if (this.read === undefined) this.see();
    if (this.unread > 0) this.divider = this.read;
    this.watcher.caughtUp(this);
  }

  #watchPeople(presence) {
    let known = false; // people who were in the room before us get no note
    presence.onJoin((user, before) => {
      if (known && !before && user !== this.user) this.#note(`${user} came in`);
    });
    presence.onLeave((user, remaining) => {
      if (remaining.metas.length > 0) return; // another window of that user is still open
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

  /** Sends a message when the room is joined. If the connection is lost before the answer, the next join sends it again. */
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
      // The broadcast brings our own message too, so there is nothing to add here.
      .receive("ok", () => this.#arrived(message.nonce))
      .receive("error", fail)
      // The plugin may have stored it all the same; because of the nonce, a retry doesn't store it twice.
      .receive("timeout", () => fail({ reason: "the server hasn't confirmed this" }));
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
    const late = () => this.#note("The server hasn't confirmed your change");
    this.channel.push(event, change).receive("error", fail).receive("timeout", late);
  }

  // --- lines ---

  /** Inserts a message at its place, or replaces the earlier version. */
  #take(message, live = false) {
    this.#know(message.id);
    this.#know(message.change ?? "");
    const at = this.#place(message.id);
    const known = this.lines[at]?.key === message.id ? 1 : 0;
    this.lines.splice(at, known, { kind: "message", key: message.id, live, ...message });
    if (message.nonce && this.isMine(message)) this.#arrived(message.nonce);
  }

  /** Applies a change to a message, if the message is here. */
  #changed({ id, ...change }) {
    this.#know(change.change);
    const line = this.find(id);
    if (line) Object.assign(line, change);
    this.#draw();
  }

  #know(id) {
    if (id > this.known) this.known = id;
  }

  #note(text, back = false) {
    this.notes += 1;
    // `~` sorts after all characters of ids, and `!` before them.
    const last = this.messages.at(-1)?.key ?? "!";
    const key = `${last}~${String(this.notes).padStart(8, "0")}`;
    this.lines.splice(this.#place(key), 0, { kind: "note", key, live: true, text, back });
    this.watcher.changed(this);
  }

  /** The index of the line with this key, or the index at which to insert it. */
  #place(key) {
    let [low, high] = [0, this.lines.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.lines[middle].key < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // --- typing ---

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

  /** The storage key of the last message that was read. */
  get #shelf() {
    return `chat-read/${this.name}/${this.user}`;
  }
}
