// The basic functions of the official client: join, push, receive, leave.

import assert from "node:assert/strict";
import { test } from "node:test";

import { startHost, until, within } from "../host.mjs";
import { connect, join, Joined } from "./client.mjs";

/** Waits until a member gets a diff with this name. */
const presenceChange = async (member, kind, name) => {
  while (!(name in (await member.next("presence_diff"))[kind]));
};
const comes = (member, name) => presenceChange(member, "joins", name);
const goes = (member, name) => presenceChange(member, "leaves", name);

test("a push gets a reply, and its broadcast reaches all members", async (t) => {
  const host = await startHost(t, { plugins: ["chat"] });
  const alice = await join(connect(t, host), "room:lobby", { user: "alice" });
  const bob = await join(connect(t, host), "room:lobby", { user: "bob" });

  const { status, response } = await alice.push("new_msg", { body: "hello" });
  assert.equal(status, "ok");
  for (const who of [alice, bob]) {
    const { at, ...message } = await who.next("new_msg");
    assert.deepEqual(message, { id: response.id, user: "alice", body: "hello" });
    assert.ok(Math.abs(at - Date.now()) < 60_000, `${at} is the present time`);
  }
});

test("the sender doesn't get its own broadcast_from", async (t) => {
  const host = await startHost(t, { plugins: ["chat"] });
  const alice = await join(connect(t, host), "room:lobby", { user: "alice" });
  const bob = await join(connect(t, host), "room:lobby", { user: "bob" });

  const unanswered = alice.push("typing", { typing: true }, 100);
  assert.deepEqual(await bob.next("typing"), { user: "alice", typing: true });
  assert.equal((await unanswered).status, "timeout", "the event has no reply, so the client's timeout fires");
  // Its reply comes after all earlier messages.
  await alice.push("new_msg", { body: "done" });
  assert.ok(!alice.untaken.includes("typing"));
});

test("a client's mistake gets an error reply, and the channel stays joined", async (t) => {
  const host = await startHost(t, { plugins: ["chat"] });
  const alice = await join(connect(t, host), "room:lobby", { user: "alice" });

  const empty = await alice.push("new_msg", { body: " " });
  assert.deepEqual(empty, { status: "error", response: { reason: "a message needs some text" } });
  assert.equal((await alice.push("dance")).status, "error");
  assert.equal((await alice.push("new_msg", { body: "still here" })).status, "ok");
  assert.equal(alice.joins, 1);
});

test("a join is refused with the plugin's reason, or because no plugin serves the topic", async (t) => {
  const host = await startHost(t, { plugins: ["chat"] });
  const socket = connect(t, host);
  const refusal = async (topic, params) => {
    const channel = new Joined(socket.channel(topic, params));
    const reply = await channel.join();
    await channel.leave(); // Otherwise the client would retry.
    return reply;
  };
  assert.deepEqual(await refusal("room:no good", { user: "alice" }), {
    status: "error",
    response: { reason: "a room's name has letters, digits, - and _" },
  });
  assert.deepEqual(await refusal("room:lobby", { user: "" }), {
    status: "error",
    response: { reason: "a name has 1 to 32 characters" },
  });
  assert.deepEqual(await refusal("attic", {}), { status: "error", response: { reason: "unmatched topic" } });
});

test("a member that leaves gets no more messages, and the others see it leave", async (t) => {
  const host = await startHost(t, { plugins: ["chat"] });
  const alice = await join(connect(t, host), "room:lobby", { user: "alice" });
  const bob = await join(connect(t, host), "room:lobby", { user: "bob" });

  assert.equal((await bob.leave()).status, "ok");
  await goes(alice, "bob");
  await alice.push("new_msg", { body: "gone?" });
  assert.ok(!bob.untaken.includes("new_msg"));
  assert.equal(bob.channel.state, "closed");
});

test("a socket that disconnects leaves its rooms", async (t) => {
  const host = await startHost(t, { plugins: ["chat"] });
  const alice = await join(connect(t, host), "room:lobby", { user: "alice" });
  const socket = connect(t, host);
  await join(socket, "room:lobby", { user: "bob" });
  await comes(alice, "bob");

  socket.disconnect();
  await goes(alice, "bob");
});

test("joining a topic again closes the earlier channel", async (t) => {
  const host = await startHost(t, { plugins: ["echo"] });
  const socket = connect(t, host);
  const first = await join(socket, "echo:1");
  assert.equal((await first.push("count")).response.count, 1);

  const second = await join(socket, "echo:1");
  await until("the first is closed", () => first.channel.state === "closed");
  assert.equal((await second.push("count")).response.count, 1, "the second join makes a new member with its own state");
});

test("channels of one socket don't mix", async (t) => {
  const host = await startHost(t, { plugins: ["chat", "echo"] });
  const socket = connect(t, host);
  const one = await join(socket, "room:one", { user: "alice" });
  const two = await join(socket, "room:two", { user: "alice" });
  const echo = await join(socket, "echo:1");

  await one.push("new_msg", { body: "in one" });
  await two.push("new_msg", { body: "in two" });
  assert.equal((await one.next("new_msg")).body, "in one");
  assert.equal((await two.next("new_msg")).body, "in two");
  assert.deepEqual(echo.untaken, []);
});

test("payloads stay unchanged, text and binary", async (t) => {
  const host = await startHost(t, { plugins: ["echo"] });
  const channel = await join(connect(t, host), "echo:1");
  const odd = { "ключ": ["\u0000", "🜚", 1e21, -0.5, null, { "": [] }] };
  assert.deepEqual(await channel.push("echo", odd), { status: "ok", response: odd });
  const long = "x".repeat(100_000);
  const { response: longToo } = await channel.push("echo", { long });
  assert.ok(longToo.long === long, "100 kB are returned unchanged");

  const bytes = Uint8Array.from({ length: 1000 }, (_, at) => at % 256);
  const { response: bytesToo } = await channel.push("echo", bytes.buffer);
  assert.deepEqual(new Uint8Array(bytesToo), bytes);

  const other = await join(connect(t, host), "echo:1");
  channel.send("whisper", bytes.buffer);
  assert.deepEqual(new Uint8Array(await other.next("whisper")), bytes);
});

test("heartbeats keep a silent client connected", async (t) => {
  const host = await startHost(t, { plugins: ["echo"] });
  const socket = connect(t, host, { heartbeatIntervalMs: 50 });
  const channel = await join(socket, "echo:1");
  let closes = 0;
  socket.onClose(() => (closes += 1));
  const heartbeat = () => within("a heartbeat", new Promise((resolve) => socket.ping(resolve)));
  for (let count = 0; count < 3; count += 1) await heartbeat();
  assert.equal((await channel.push("count")).response.count, 1);
  assert.equal(closes, 0);
});
