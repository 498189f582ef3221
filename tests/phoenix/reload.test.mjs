// Reloads of plugins and restarts of the host, with clients that stay.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { plugin, startHost, until } from "../host.mjs";
import { connect, join } from "./client.mjs";

test("after a reload, the new code answers with the old state", async (t) => {
  const host = await startHost(t, { plugins: ["echo"] });
  const socket = connect(t, host);
  const channel = await join(socket, "echo:1");
  let interruptions = 0;
  for (const end of ["onError", "onClose"]) socket[end](() => (interruptions += 1));
  assert.deepEqual((await channel.push("count")).response, { count: 1, build: "1" });

  await host.replace("echo", await readFile(plugin("variants/echo-v2")));
  let last = 1;
  await until("the second build answers", async () => {
    const { response } = await channel.push("count");
    assert.equal(response.count, last + 1, "no count is lost over the reload");
    last = response.count;
    return response.build === "2";
  });
  assert.equal(channel.joins, 1);
  assert.deepEqual(channel.untaken, []);
  assert.equal(interruptions, 0);
});

test("a file that isn't a plugin changes nothing", async (t) => {
  const host = await startHost(t, { plugins: ["echo"] });
  const channel = await join(connect(t, host), "echo:1");
  await host.replace("echo", "this is no component");
  await until("the log names the file", () => host.log.includes("echo.wasm"));
  assert.deepEqual((await channel.push("count")).response, { count: 1, build: "1" });

  await host.replace("echo", await readFile(plugin("variants/echo-v2")));
  await until("the second build answers", async () => (await channel.push("count")).response.build === "2");
  assert.equal(channel.joins, 1);
});

test("clients join again after a restart of the host", async (t) => {
  const host = await startHost(t, { plugins: ["chat"] });
  const alice = await join(connect(t, host), "room:lobby", { user: "alice" });
  const bob = await join(connect(t, host), "room:lobby", { user: "bob" });

  await host.stop();
  await until("the clients notice the end of the host", () => [alice, bob].every((client) => client.channel.state === "errored"));
  // Sent while the host is down: the client stores it.
  const kept = alice.push("new_msg", { body: "anyone?" });
  await host.start();
  await until("both have joined again", () => alice.joins === 2 && bob.joins === 2);
  assert.equal((await kept).status, "ok");
  const again = await bob.push("new_msg", { body: "back" });
  assert.equal(again.status, "ok");
  await until("the newest message arrives", async () => (await alice.next("new_msg")).body === "back");
});

test("clients join again by themselves after the host was replaced, and the room is as it was", async (t) => {
  const host = await startHost(t, { plugins: ["counter"] });
  const alice = await join(connect(t, host), "count:1");
  const bob = await join(connect(t, host), "count:1");
  assert.deepEqual((await alice.push("add", { n: 5 })).response, { sum: 5 });

  await host.upgrade();
  await until("both have joined again", () => alice.joins === 2 && bob.joins === 2);
  assert.deepEqual((await bob.push("add", { n: 2 })).response, { sum: 7 });
});
