// Presence lists of phoenix.js's `Presence` and of the package in `client/`: over WebSocket, over long-poll, and over both.

import assert from "node:assert/strict";
import { test } from "node:test";
import { LongPoll, Presence } from "phoenix";
import { WebSocket } from "ws";

import { PresenceList } from "../../client/presence_list.mjs";
import { startHost, until } from "../host.mjs";
import { connect } from "./client.mjs";

const USERS = ["ada", "bo", "cy", "di"];
const STEPS = 200;

/** A random number generator with a seed: mulberry32. */
function random(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** A user who joins and leaves repeatedly. */
class Guest {
  constructor(test, host, user, transport) {
    Object.assign(this, { test, host, user, transport });
  }

  async join() {
    if (this.channel) return;
    this.socket = connect(this.test, this.host, { transport: this.transport });
    this.channel = this.socket.channel("room:party", { presence: this.user, meta: { step: 0 } });
    await new Promise((joined, failed) => this.channel.join().receive("ok", joined).receive("error", failed));
  }

  async leave() {
    if (!this.channel) return;
    await new Promise((left) => this.channel.leave().receive("ok", left));
    this.#forget();
  }

  update(step) {
    this.channel?.push("presence_update", { step });
  }

  /** Closes the connection without a leave. */
  drop() {
    if (!this.channel) return;
    this.#forget();
  }

  #forget() {
    this.socket.disconnect();
    this.channel = undefined;
  }
}

/** A client that stays, and records the presence list. */
async function watch(test, host, transport) {
  const socket = connect(test, host, { transport });
  const channel = socket.channel("room:party", { presence: "watcher" });
  const presence = new Presence(channel);
  const ours = new PresenceList(channel, () => {});
  await new Promise((joined) => channel.join().receive("ok", joined));
  return {
    channel,
    list: () => shown(Object.entries(presence.state).map(([key, { metas }]) => ({ key, metas }))),
    ours: () => shown(ours.list),
  };
}

/** A presence list as a text, in a fixed order. */
function shown(list) {
  const entries = list.map(({ key, metas }) => [key, metas.map(({ phx_ref, step }) => `${phx_ref} ${step}`).sort()]);
  return JSON.stringify(entries.sort());
}

async function party(test, transports) {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
  test.diagnostic(`SEED=${seed}`);
  const host = await startHost(test, {
    plugins: ["reference", "reference-gate"],
    // Short windows, so that merged diffs occur too.
    config: "[limits]\npresence_burst = 2\npresence_window_ms = 20\nlongpoll_window_ms = 2000\n",
  });
  const pick = random(seed);
  const watchers = [await watch(test, host, transports[0]), await watch(test, host, transports.at(-1))];
  const guests = USERS.flatMap((user) => transports.map((transport) => new Guest(test, host, user, transport)));
  for (let step = 1; step <= STEPS; step += 1) {
    const guest = guests[pick(guests.length)];
    const act = [() => guest.join(), () => guest.join(), () => guest.leave(), () => guest.update(step), () => guest.drop()];
    await act[pick(act.length)]();
  }
  const truth = async () => {
    const response = await host.api("/api/topics/room%3Aparty/presence");
    return shown(Object.entries(await response.json()).map(([key, { metas }]) => ({ key, metas })));
  };
  await until(`both lists are the host's (SEED=${seed})`, async () => {
    const expected = await truth();
    return watchers.every((watcher) => watcher.list() === expected && watcher.ours() === expected);
  });
  assert.notEqual(await truth(), "[]");
}

test("two lists are equal after 200 steps over WebSocket", (t) => party(t, [WebSocket]));

test("two lists are equal after 200 steps over both transports", (t) => party(t, [WebSocket, LongPoll]));

test("a presence that doesn't change is the same object", () => {
  const handlers = {};
  let changes = 0;
  const presences = new PresenceList({ on: (event, handler) => (handlers[event] = handler) }, () => (changes += 1));
  const [state, diff] = ["presence_state", "presence_diff"].map((event) => (payload, join = "1") => handlers[event](payload, null, join));
  const metas = (...refs) => ({ metas: refs.map((phx_ref) => ({ phx_ref })) });
  const keys = () => presences.list.map(({ key, metas }) => `${key} ${metas.map(({ phx_ref }) => phx_ref)}`);
  diff({ joins: { bo: metas("2") }, leaves: {} });
  assert.deepEqual([keys(), changes], [[], 0], "a diff before the state waits");
  state({ ada: metas("1") });
  assert.deepEqual(keys(), ["ada 1", "bo 2"]);
  const [ada, bo] = presences.list;
  diff({ joins: { bo: metas("3") }, leaves: {} });
  assert.deepEqual(keys(), ["ada 1", "bo 2,3"]);
  assert.equal(presences.list[0], ada);
  assert.notEqual(presences.list[1], bo);
  diff({ joins: { bo: metas("4") }, leaves: { bo: metas("2", "3"), cy: metas("9") } });
  assert.deepEqual(keys(), ["ada 1", "bo 4"]);

  const before = presences.list;
  changes = 0;
  diff({ joins: { ada: metas("1") }, leaves: {} });
  state({ ada: metas("1"), bo: metas("4") }, "2");
  assert.deepEqual([presences.list === before, changes], [true, 0], "the same list after another join is no change");
  diff({ joins: {}, leaves: { ada: metas("1") } }, "2");
  assert.deepEqual(keys(), ["bo 4"]);
});
