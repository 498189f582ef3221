// One channel of phoenix.js for all components that use its topic.
//
// A socket has at most one channel for a topic: if a second one joins, phoenix.js closes the first. So components share it. The
// channel is joined while at least one of them holds it.

import { NO_PRESENCES, PresenceList } from "./presence_list.mjs";
import { recover } from "./recover.mjs";
import { RoomState } from "./room_state.mjs";

/** The states of a channel that isn't joined yet, and of one without a topic. */
export const JOINING = Object.freeze({ status: "joining", response: null, error: null });
export const IDLE = Object.freeze({ status: "idle", response: null, error: null });

/** The shared channels of each socket, by topic. Those that no component uses are collected as garbage. */
const sockets = new WeakMap();

/** Returns the shared channel of a topic. This alone doesn't join: a render that React discards may have called it. */
export function sharedChannel(socket, topic) {
  let topics = sockets.get(socket);
  if (!topics) sockets.set(socket, (topics = new Map()));
  const found = topics.get(topic)?.deref();
  if (found) return found;
  for (const [other, channel] of topics) if (!channel.deref()) topics.delete(other);
  const made = new SharedChannel(socket, topic);
  topics.set(topic, new WeakRef(made));
  return made;
}

/** A push without a successful reply. */
export class PushError extends Error {
  /** @param {string} status The reply's, or `timeout`, or `closed` if the channel or the connection ended before. */
  constructor(topic, event, status, response = null) {
    const reason = response?.reason ?? (response === null ? status : JSON.stringify(response));
    super(`${event} on ${topic}: ${reason}`);
    this.name = "PushError";
    Object.assign(this, { topic, event, status, response });
  }
}

class SharedChannel {
  #socket;
  #topic;
  /** The components that use the channel: `{ params, key, onMissed }` each. */
  #holders = new Set();
  /** The channel of phoenix.js; null while there is none, and after the server has closed it. */
  #channel = null;
  /** The key of the parameters that the channel was joined with. */
  #openKey = undefined;
  /** Whether the channel gets missed messages. */
  #recovers = false;
  #room = null;
  #presence = null;
  #snapshot = JOINING;
  /** The event handlers, which outlive the channel: `{ handlers, ref }` by event. */
  #events = new Map();
  #listeners = { status: new Set(), room: new Set(), presence: new Set() };
  /** The pushes without a reply, each with a function that ends its promise. */
  #pushes = new Map();
  /** The promise of the next `#settle`, if it is planned. */
  #soon = null;

  constructor(socket, topic) {
    this.#socket = socket;
    this.#topic = topic;
  }

  get snapshot() {
    return this.#snapshot;
  }

  get room() {
    return this.#room;
  }

  get presences() {
    return this.#presence?.list ?? NO_PRESENCES;
  }

  onStatus = (listener) => this.#listen("status", listener);
  onRoom = (listener) => this.#listen("room", listener);
  onPresence = (listener) => this.#listen("presence", listener);

  /**
   * Begins to use the channel, and returns a function that ends this. The join comes in a microtask: when all components of one
   * commit have called this, and StrictMode has unmounted and mounted them again.
   */
  hold(params, key, onMissed) {
    const holder = { params, key, onMissed };
    this.#holders.add(holder);
    if (this.#channel) this.#recover();
    this.#soon ??= Promise.resolve().then(() => {
      this.#soon = null;
      this.#settle(true);
    });
    return () => {
      this.#holders.delete(holder);
      // Later, because a component that moves in the page mounts in a commit after the one that unmounts it.
      setTimeout(() => this.#settle(false), 0);
    };
  }

  /** Calls a handler for each event of this name, until the returned function is called. */
  on = (event, handler) => {
    let entry = this.#events.get(event);
    if (!entry) {
      this.#events.set(event, (entry = { handlers: new Set(), ref: null }));
      if (this.#channel) this.#bind(event, entry);
    }
    // An object of its own for each call, so that a handler can be added twice.
    const added = { handler };
    entry.handlers.add(added);
    return () => {
      entry.handlers.delete(added);
      if (entry.handlers.size > 0 || this.#events.get(event) !== entry) return;
      this.#events.delete(event);
      this.#channel?.off(event, entry.ref);
    };
  };

  /** Pushes an event, and returns the response of its reply. Throws a `PushError` if the reply isn't `ok`. */
  push = async (event, payload = {}, timeout = undefined) => {
    if (!this.#channel) {
      // A child's effect runs before the effect of the parent that holds the channel.
      await null;
      await this.#soon;
    }
    const channel = this.#channel;
    if (!channel) throw new PushError(this.#topic, event, "closed");
    return new Promise((resolve, reject) => {
      const push = channel.push(event, payload, timeout);
      this.#pushes.set(push, (status, response) => {
        this.#pushes.delete(push);
        if (status === "ok") resolve(response);
        else reject(new PushError(this.#topic, event, status, response));
      });
      push.receive("timeout", () => this.#pushes.get(push)?.("timeout"));
    });
  };

  /** Joins at once with a new channel: after the server has closed the channel or refused it. */
  rejoin = () => {
    if (this.#holders.size === 0) return;
    this.#leave();
    this.#open();
  };

  /** Joins, leaves or joins with other parameters, as the holders want. After the server has closed the channel, `opens` joins. */
  #settle(opens) {
    if (this.#holders.size === 0) return this.#leave();
    if (!this.#channel) return opens ? this.#open() : undefined;
    const insisting = [...this.#holders].filter(({ key }) => key !== undefined);
    if (insisting.every(({ key }) => key === this.#openKey)) return;
    if (insisting.some(({ key }) => key === this.#openKey)) {
      console.error(`useChannel: ${this.#topic} is already joined with other params, which it keeps: ${this.#openKey}`);
      return;
    }
    this.rejoin();
  }

  #open() {
    const holder = [...this.#holders].find(({ key }) => key !== undefined);
    const channel = this.#socket.channel(this.#topic, holder?.params ?? {});
    this.#channel = channel;
    this.#openKey = holder?.key;
    this.#recovers = false;
    this.#recover();
    this.#room = new RoomState(channel, { onPatch: () => this.#notify("room") });
    this.#presence = new PresenceList(channel, () => this.#notify("presence"));
    for (const [event, entry] of this.#events) this.#bind(event, entry);
    const set = (status, response = null, error = null) => {
      if (this.#channel === channel) this.#set({ status, response, error });
    };
    // `receive` would miss a reply whose status is neither `ok` nor `error`.
    channel.on("phx_reply", ({ status, response }, ref) => {
      for (const [push, end] of this.#pushes) if (push.ref === ref) end(status, response);
    });
    channel.onError(() => {
      // Their replies can't come any more. phoenix.js would wait for them until the timeout. It sends the other pushes later.
      for (const [push, end] of this.#pushes) if (push.sent) end("closed");
      if (this.#snapshot.status === "joined") set("rejoining", this.#snapshot.response);
    });
    channel.onClose(() => {
      if (this.#channel !== channel) return;
      this.#drop();
      this.#set({ status: "closed", response: null, error: null });
    });
    this.#set(JOINING);
    channel
      .join()
      .receive("ok", (response) => set("joined", response))
      .receive("error", (error) => set("refused", null, error));
  }

  /** Lets the channel get missed messages if a component wants it. In a channel that is joined, this begins with its next join. */
  #recover() {
    if (this.#recovers || ![...this.#holders].some(({ onMissed }) => onMissed)) return;
    this.#recovers = true;
    recover(this.#channel, {
      onMissed: () => {
        for (const { onMissed } of [...this.#holders]) onMissed?.();
      },
    });
  }

  /** Leaves the channel, if there is one, and forgets its state. */
  #leave() {
    const channel = this.#channel;
    this.#drop();
    channel?.leave();
    this.#room = null;
    this.#presence = null;
    this.#set(JOINING);
    this.#notify("room");
    this.#notify("presence");
  }

  /** Forgets the channel of phoenix.js. The last room and presences stay. */
  #drop() {
    this.#channel = null;
    for (const end of [...this.#pushes.values()]) end("closed");
  }

  #bind(event, entry) {
    entry.ref = this.#channel.on(event, (payload) => {
      for (const { handler } of [...entry.handlers]) handler(payload);
    });
  }

  #set(snapshot) {
    if (snapshot === this.#snapshot) return;
    this.#snapshot = snapshot;
    this.#notify("status");
  }

  #listen(what, listener) {
    this.#listeners[what].add(listener);
    return () => this.#listeners[what].delete(listener);
  }

  #notify(what) {
    for (const listener of [...this.#listeners[what]]) listener();
  }
}
