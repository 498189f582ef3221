// Published entries, with the official client and the client module.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { Socket } from "phoenix";
import { WebSocket } from "ws";

import { RoomState } from "../../client/room_state.mjs";
import { plugin, startHost, until } from "../host.mjs";
import { Joined, connect, join } from "./client.mjs";

/** A channel that follows the published entries of its topic. */
async function follow(socket, topic, params = {}) {
  const channel = new Joined(socket.channel(topic, params));
  const room = new RoomState(channel.channel);
  const reply = await channel.join();
  assert.equal(reply.status, "ok");
  return Object.assign(channel, { room });
}

test("a member gets the published entries, and then their changes", async (t) => {
  const host = await startHost(t, { plugins: ["shelf"] });
  const alice = await follow(connect(t, host), "notes:1");
  await alice.push("put", { a: { text: "one", by: "alice" }, b: [1] });
  await until("alice has her own notes", () => alice.room.state?.["note/b"]);
  const bob = await follow(connect(t, host, { transport: undefined, longPollFallbackMs: undefined }), "notes:1");
  await until("bob has the notes", () => bob.room.state);
  assert.deepEqual(bob.room.state, { "note/a": { text: "one", by: "alice" }, "note/b": [1] });
  const before = bob.room.state;
  await bob.push("put", { a: { text: "two" }, c: "new" });
  await until("alice has the change", () => alice.room.state["note/c"]);
  assert.deepEqual(alice.room.state, { "note/a": { text: "two" }, "note/b": [1], "note/c": "new" });
  assert.deepEqual(bob.room.state, alice.room.state);
  assert.equal(bob.room.state["note/b"], before["note/b"], "an unchanged entry is the same object");

  await bob.push("follow", { prefix: "note/c" });
  await until("bob has the notes that it follows", () => Object.keys(bob.room.state).length === 1);
  await alice.push("put", { a: null, c: null, cc: 1 });
  await until("bob has the change", () => bob.room.state["note/cc"]);
  assert.deepEqual([bob.room.state, alice.room.state], [{ "note/cc": 1 }, { "note/b": [1], "note/cc": 1 }]);
});
