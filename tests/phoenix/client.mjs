// The official Phoenix client, for tests. Each step is a promise.

import { Socket } from "phoenix";
import { WebSocket } from "ws";

import { DEADLINE, within } from "../host.mjs";

// The timer of a push whose connection was lost runs on. It must not keep the process alive after the last test.
const Push = new Socket("ws://127.0.0.1/socket", { transport: WebSocket }).channel("none").joinPush.constructor;
const { startTimeout } = Push.prototype;
Push.prototype.startTimeout = function () {
  startTimeout.call(this);
  this.timeoutTimer.unref();
};

/** Connects the official client to a host. It disconnects when the test ends. */
export function connect(test, host, options = {}) {
  // Short delays, so that tests of reconnects are fast. Joins and pushes have time, so that none fails on a busy machine.
  const quick = { reconnectAfterMs: () => 50, rejoinAfterMs: () => 50, timeout: DEADLINE };
  const socket = new Socket(host.socketUrl, { transport: WebSocket, ...quick, ...options });
  test.after(() => socket.disconnect());
  socket.connect();
  return socket;
}

/** Joins a topic. Returns the channel, or throws an error if the join is refused. */
export async function join(socket, topic, params = {}) {
  const channel = new Joined(socket.channel(topic, params));
  const reply = await channel.join();
  if (reply.status !== "ok") throw new Error(`cannot join ${topic}: ${JSON.stringify(reply)}`);
  return channel;
}

/** A channel that stores received events, so that a test can take them later. With `stores: false` it stores none, for long tests. */
export class Joined {
  #received = [];
  #waiting = [];

  constructor(channel, { stores = true } = {}) {
    this.channel = channel;
    /** The number of successful joins. */
    this.joins = 0;
    if (!stores) return;
    const handle = channel.onMessage.bind(channel);
    channel.onMessage = (event, payload, ref) => {
      // phoenix.js triggers the event null when a push times out that was reset meanwhile.
      if (event !== null && !event.startsWith("chan_reply_") && event !== "phx_reply") this.#receive(event, payload);
      return handle(event, payload, ref);
    };
  }

  join() {
    const push = this.channel.join();
    push.receive("ok", () => (this.joins += 1));
    return outcome("a reply to the join", push);
  }

  /** Sends an event, and waits for its reply: `{status, response}`. The status can be `timeout`. */
  push(event, payload = {}, timeout = undefined) {
    return outcome(`a reply to ${event}`, this.channel.push(event, payload, timeout));
  }

  /** Sends an event that gets no reply. */
  send(event, payload = {}) {
    this.channel.push(event, payload, 1);
  }

  leave() {
    return outcome("a reply to the leave", this.channel.leave());
  }

  /** Takes the next event with this name, and returns its payload. */
  next(event) {
    const at = this.#received.findIndex((received) => received.event === event);
    if (at >= 0) return Promise.resolve(this.#received.splice(at, 1)[0].payload);
    return within(`${event} on ${this.channel.topic}`, new Promise((take) => this.#waiting.push({ event, take })));
  }

  /** The names of the received events that the test hasn't taken. */
  get untaken() {
    return this.#received.map((received) => received.event);
  }

  #receive(event, payload) {
    const at = this.#waiting.findIndex((waiting) => waiting.event === event);
    if (at >= 0) this.#waiting.splice(at, 1)[0].take(payload);
    else this.#received.push({ event, payload });
  }
}

function outcome(what, push) {
  const settled = new Promise((resolve) => {
    for (const status of ["ok", "error", "timeout"]) push.receive(status, (response) => resolve({ status, response }));
  });
  return within(what, settled);
}
