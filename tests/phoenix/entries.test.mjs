// Published entries, with the official client and the client module.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { LongPoll } from "phoenix";
import { WebSocket } from "ws";

import { RoomState } from "../../client/room_state.mjs";
import { plugin, startHost, until } from "../host.mjs";
import { randomNumbers, rounds } from "../rounds.mjs";
import { Joined, connect } from "./client.mjs";

/** A member of a topic, whose `room` follows the published entries. */
async function follow(socket, topic, params = {}) {
  const channel = new Joined(socket.channel(topic, params), { stores: false });
  const room = new RoomState(channel.channel);
  assert.equal((await channel.join()).status, "ok");
  return Object.assign(channel, { room, socket });
}

test("a member gets the published entries, and then their changes", async (t) => {
  const host = await startHost(t, { plugins: ["shelf"] });
  const alice = await follow(connect(t, host), "notes:1");
  await alice.push("put", { a: { text: "one", by: "alice" }, b: [1] });
  await until("alice has her own notes", () => alice.room.state?.["note/b"]);
  const bob = await follow(connect(t, host, { transport: LongPoll }), "notes:1");
  await until("bob has the notes", () => bob.room.state);
  assert.deepEqual(bob.room.state, { "note/a": { text: "one", by: "alice" }, "note/b": [1] });
  const before = bob.room.state;
  await bob.push("put", { a: { text: "two" }, c: "new" });
  for (const each of [alice, bob]) await until("each has the change", () => each.room.state["note/c"]);
  assert.deepEqual(alice.room.state, { "note/a": { text: "two" }, "note/b": [1], "note/c": "new" });
  assert.deepEqual(bob.room.state, alice.room.state);
  assert.equal(bob.room.state["note/b"], before["note/b"], "an unchanged entry is the same object");

  await bob.push("follow", { prefix: "note/c" });
  await until("bob has the notes that it follows", () => Object.keys(bob.room.state).length === 1);
  await alice.push("put", { a: null, c: null, cc: 1 });
  await until("bob has the change", () => bob.room.state["note/cc"]);
  await until("alice has the change", () => alice.room.state["note/cc"]);
  assert.deepEqual([bob.room.state, alice.room.state], [{ "note/cc": 1 }, { "note/b": [1], "note/cc": 1 }]);
});

/** The outbox is small, so that a client that doesn't read misses changes soon. */
const CONFIG = '[limits]\noutbox_frames = 40\noutbox_bytes = 1_000_000\n[mounts."/socket"]\ncompress = true\n';

/** A WebSocket without compression. */
class Plain extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols, { perMessageDeflate: false });
  }
}

/** The transports of readers. That of `ws` compresses. */
const TRANSPORTS = [LongPoll, Plain, WebSocket, WebSocket];

/** The keys of droppable messages. */
const KEYS = ["p", "q"];

/** The prefixes of notes that members follow. */
const PREFIXES = ["note/a", "note/b", "note/a1", "note/"];

test("clients that read at random speeds end with the same state", async (t) => {
  const host = await startHost(t, { plugins: ["shelf"], config: CONFIG });
  for (let seed = 1; seed <= rounds("phoenix::entries"); seed += 1) await t.test(`seed ${seed}`, (t) => play(t, host, seed));
});

/**
 * The changes of the seed, made by one client, while others read, pause, follow other notes, leave and join, and while the
 * plugin is replaced and rolled back. Between the changes there are droppable messages.
 */
async function play(t, host, seed) {
  const random = randomNumbers(seed);
  const topic = `notes:${seed}`;
  const writer = await follow(connect(t, host), topic);
  const before = await generation(host);
  const texts = [1, 2, 3, 4].map(() => noise(random));
  let points = 0;
  const point = (key) => writer.push("point", { key, n: (points += 1) });
  const readers = [];
  const add = async () => {
    const transport = TRANSPORTS[random(TRANSPORTS.length)];
    const socket = connect(t, host, { transport });
    const prefixes = PREFIXES.filter(() => random(3) === 0);
    const isPartial = prefixes.length > 0 && random(2) === 0;
    const reader = await follow(socket, topic, isPartial ? { follow: prefixes } : {});
    const last = {};
    reader.channel.on("point", ({ key, n }) => {
      assert.ok(n > (last[key] ?? 0), `${n} of ${key} comes after ${last[key]}`);
      last[key] = n;
    });
    const isPolling = transport === LongPoll;
    readers.push(Object.assign(reader, { prefixes: isPartial ? new Set(prefixes) : null, isPaused: false, isPolling, last }));
  };
  for (let count = 0; count < 8; count += 1) await add();
  const pause = (reader, isPaused) => {
    if (reader.isPolling || reader.isPaused === isPaused) return;
    reader.isPaused = isPaused;
    if (isPaused) reader.socket.conn.pause();
    else reader.socket.conn.resume();
  };
  for (let step = 0; step < 150; step += 1) {
    const reader = readers[random(readers.length)];
    switch (random(14)) {
      case 0:
      case 1:
        pause(reader, !reader.isPaused);
        break;
      case 2: {
        // A paused reader doesn't see the reply.
        if (reader.isPaused) break;
        const prefix = PREFIXES[random(PREFIXES.length)];
        const event = random(3) > 0 ? "follow" : "unfollow";
        await reader.push(event, { prefix });
        if (event === "follow") (reader.prefixes ??= new Set()).add(prefix);
        else reader.prefixes?.delete(prefix);
        break;
      }
      case 3:
        if (random(3) > 0) break;
        readers.splice(readers.indexOf(reader), 1);
        reader.socket.disconnect();
        await add();
        break;
      case 4:
      case 5:
        await point(KEYS[random(KEYS.length)]);
        break;
      default:
        await writer.push("put", changes(random, texts));
    }
    if (step === 60) await reload(host, seed);
    if (step === 110) {
      await until("the other build serves", async () => (await generation(host)) > before);
      await host.bennu("plugins", "rollback", "shelf");
    }
  }
  for (const reader of readers) pause(reader, false);
  await writer.push("put", { a_end: seed, b_end: seed, end: seed });
  await until("the writer has its own changes", () => writer.room.state["note/end"] === seed);
  const all = Object.entries(writer.room.state);
  for (const [at, { room, prefixes }] of readers.entries()) {
    const isIn = (key) => prefixes === null || [...prefixes].some((prefix) => key.startsWith(prefix));
    const expected = JSON.stringify(sorted(all.filter(([key]) => isIn(key))));
    const actual = () => JSON.stringify(sorted(Object.entries(room.state ?? {})));
    await until(`reader ${at} has all changes`, () => actual() === expected);
  }
  for (const key of KEYS) {
    await point(key);
    for (const [at, { last }] of readers.entries()) {
      await until(`reader ${at} has the last message`, () => last[key] === points);
    }
  }
  for (const { socket } of [writer, ...readers]) socket.disconnect();
}

/** A text of 200,000 bytes that compression hardly makes shorter. So a connection that isn't read is soon full. */
function noise(random) {
  let text = "";
  while (text.length < 200_000) text += random(2 ** 30).toString(36).padStart(6, "0");
  return text;
}

/** Some notes: small ones with fields that come and go, and a large one. */
function changes(random, texts) {
  const notes = {};
  for (let count = 0; count < 1 + random(3); count += 1) {
    const name = `${"abc"[random(3)]}${random(4)}`;
    const fields = ["x", "y", "z"].filter(() => random(2)).map((field) => [field, random(5) ? random(9) : { deep: random(3) }]);
    notes[name] = random(6) === 0 ? null : Object.fromEntries(fields);
  }
  notes[`large${random(2)}`] = { text: texts[random(texts.length)] };
  return notes;
}

function sorted(entries) {
  return entries.toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => [key, sort(value)]);
}

/** The fields in one order: a patch adds fields at the end. */
function sort(value) {
  if (typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(sorted(Object.entries(value)));
}

/** The generation of the plugin that serves. */
async function generation(host) {
  const inspected = await (await host.api("/api/inspect")).json();
  return inspected.plugins.shelf.generation;
}

/** Another build of the plugin, with the same code: it has an empty custom section more. */
async function reload(host, seed) {
  const section = Buffer.from([0, 2, 1, 97]);
  await host.replace("shelf", Buffer.concat([await readFile(plugin("shelf")), ...Array(seed).fill(section)]));
}
