// Faults of a plugin: the member joins again by itself, and other members aren't affected.

import assert from "node:assert/strict";
import { test } from "node:test";

import { startHost, until } from "../host.mjs";
import { connect, join, Joined } from "./client.mjs";

for (const event of ["panic", "fail", "loop", "grow"]) {
  test(`after ${event} the client joins again, and other members aren't affected`, async (t) => {
    const host = await startHost(t, { plugins: ["naughty", "echo"] });
    const socket = connect(t, host);
    const victim = await join(socket, "naughty:1");
    const beside = await join(socket, "echo:1");
    const neighbour = await join(connect(t, host), "naughty:1");
    for (const channel of [victim, beside, neighbour]) await channel.push("count");

    victim.send(event);
    await victim.next("phx_error");
    await until("the client has joined again", () => victim.joins === 2);

    assert.equal((await victim.push("count")).response.count, 1, "the join makes a new member");
    assert.equal((await beside.push("count")).response.count, 2);
    assert.equal((await neighbour.push("count")).response.count, 2);
    assert.deepEqual([beside.joins, neighbour.joins], [1, 1]);
  });
}

test("after a fault, none of the callback's effects happen", async (t) => {
  const host = await startHost(t, { plugins: ["naughty"] });
  const victim = await join(connect(t, host), "naughty:1");
  const neighbour = await join(connect(t, host), "naughty:1");

  victim.send("push_then_trap");
  await victim.next("phx_error");
  await neighbour.push("count");
  for (const who of [victim, neighbour]) assert.ok(!who.untaken.includes("pushed"));
});

test("a join that faults gets an error reply, and the socket stays connected", async (t) => {
  const host = await startHost(t, { plugins: ["naughty"] });
  const socket = connect(t, host);
  const channel = new Joined(socket.channel("naughty:join_panic"));
  assert.equal((await channel.join()).status, "error");
  const other = await join(socket, "naughty:1");
  assert.equal((await other.push("count")).response.count, 1);
});
