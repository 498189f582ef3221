// A kick: the official client closes the channel, and doesn't join again by itself.

import assert from "node:assert/strict";
import { test } from "node:test";

import { startHost } from "../host.mjs";
import { connect, join } from "./client.mjs";

test("a kicked channel is closed, and joins again only when the page asks", async (t) => {
  const host = await startHost(t, { plugins: ["naughty"] });
  const socket = connect(t, host, { rejoinAfterMs: () => 1 });
  const kicked = await join(socket, "naughty:1");
  const beside = await join(socket, "naughty:2");
  const neighbour = await join(connect(t, host), "naughty:1");

  const closed = new Promise((resolve) => kicked.channel.onClose(resolve));
  const body = JSON.stringify({ topic: "naughty:1", member: 1, reason: "spam" });
  const answer = await host.api("/api/kick", { method: "POST", headers: { "content-type": "application/json" }, body });
  assert.deepEqual(await answer.json(), { members: 1 });
  await closed;
  assert.deepEqual(await neighbour.next("gone"), { member: 1, cause: "kicked", detail: "spam" });

  // After `phx_error`, it would join again within a millisecond. These messages take longer, on the same connection.
  for (let n = 1; n <= 20; n += 1) assert.equal((await beside.push("count")).response.count, n);
  assert.equal(kicked.channel.state, "closed");
  assert.equal(kicked.joins, 1);
  assert.ok(!kicked.untaken.includes("phx_error"));
  const again = await join(socket, "naughty:1");
  assert.equal((await again.push("count")).response.count, 1);
});
