// The official Phoenix client over long-poll.

import assert from "node:assert/strict";
import { test } from "node:test";
import { LongPoll } from "phoenix";

import { startHost, until } from "../host.mjs";
import { connect, join } from "./client.mjs";

test("a channel works over long-poll", async (t) => {
  const host = await startHost(t, { plugins: ["echo"] });
  const poller = await join(connect(t, host, { transport: LongPoll }), "echo:1");
  const alice = await join(connect(t, host), "echo:1");
  assert.deepEqual(await poller.push("echo", { a: [1, null] }), { status: "ok", response: { a: [1, null] } });
  alice.send("shout", { from: "alice" });
  assert.deepEqual(await poller.next("shout"), { from: "alice" });
  poller.send("shout", { from: "poller" });
  await alice.next("shout");
  assert.deepEqual(await alice.next("shout"), { from: "poller" });
  assert.equal((await poller.leave()).status, "ok");
});

test("a long-poll client joins again after a restart of the host", async (t) => {
  const host = await startHost(t, { plugins: ["echo"] });
  const poller = await join(connect(t, host, { transport: LongPoll }), "echo:1");
  await host.stop();
  await host.start();
  await until("the client has joined again", () => poller.joins === 2);
  assert.equal((await poller.push("version")).status, "ok");
});

test("a client whose WebSocket doesn't open falls back to long-poll", async (t) => {
  const config = '[mounts."/socket"]\ntransports = ["longpoll"]\n';
  const host = await startHost(t, { plugins: ["echo"], config });
  // The client stores here that it fell back to long-poll.
  const sessionStorage = { getItem: () => null, setItem: () => {} };
  const socket = connect(t, host, { longPollFallbackMs: 300, sessionStorage });
  const channel = await join(socket, "echo:1");
  assert.equal((await channel.push("echo", { over: "poll" })).response.over, "poll");
});

test("the client's authToken is sent outside the parameters", async (t) => {
  const config = '[mounts."/socket"]\nauth_token = true\n';
  const host = await startHost(t, { plugins: ["reference", "reference-gate"], config });
  for (const options of [{}, { transport: LongPoll }]) {
    const channel = await join(connect(t, host, { authToken: "s3cr3t", ...options }), "room:a");
    assert.equal((await channel.push("whoami")).response.auth_token, "s3cr3t");
  }
});
