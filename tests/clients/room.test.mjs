// Clients by other authors, each in a room with the official client: they join, push, receive, and see presences.

import assert from "node:assert/strict";
import { test } from "node:test";

import { startHost, until } from "../host.mjs";
import { connect, join } from "../phoenix/client.mjs";
import { python, rust } from "./programs.mjs";
import { puppet } from "./puppet.mjs";

const TOPIC = "room:clients";

/** A room of the reference channel. ada has joined it with phoenix.js, and is tracked. */
async function room(test) {
  const host = await startHost(test, { plugins: ["reference", "reference-gate"] });
  const ada = await join(connect(test, host), TOPIC, { presence: "ada", meta: { step: 1 } });
  assert.deepEqual(await ada.next("presence_state"), {});
  const { joins } = await ada.next("presence_diff");
  return { host, ada, ref: joins.ada.metas[0].phx_ref };
}

/** The host's count of members in the room. */
async function members(host) {
  const response = await host.api(`/api/topics/${encodeURIComponent(TOPIC)}`);
  return (await response.json()).members;
}

/** Broadcasts arrive in both directions, and a push gets its reply. */
async function talk(ada, bo) {
  bo.say("push", "echo", { n: 1.5, s: "é", deep: { list: [null, true] } });
  const echo = { n: 1.5, s: "é", deep: { list: [null, true] } };
  assert.deepEqual(await bo.next("reply"), { status: "ok", response: echo });
  bo.say("push", "echo_error", { reason: "bad" });
  assert.deepEqual(await bo.next("reply"), { status: "error", response: { reason: "bad" } });
  bo.say("send", "shout_from", { from: "bo" });
  assert.deepEqual(await ada.next("shout_from"), { from: "bo" });
  ada.send("shout", { from: "ada" });
  assert.deepEqual(await bo.next("event", "shout"), { from: "ada" });
  assert.deepEqual(await ada.next("shout"), { from: "ada" });
}

/** Checks the diff that bo gets when ada replaces the meta with this ref. Returns the new ref. */
async function sees(bo, ada, ref) {
  assert.equal((await ada.push("presence_update", { step: 2 })).status, "ok");
  const { joins, leaves } = await bo.next("event", "presence_diff");
  const { phx_ref, phx_ref_prev, ...meta } = joins.ada.metas[0];
  assert.deepEqual([phx_ref_prev, meta], [ref, { step: 2 }]);
  assert.notEqual(phx_ref, ref);
  assert.deepEqual(leaves, { ada: { metas: [{ phx_ref: ref, step: 1 }] } });
  return phx_ref;
}

test("phxsocket of PyPI joins, pushes, receives and sees presence", async (t) => {
  const { host, ada, ref } = await room(t);
  const params = { presence: "bo", meta: { by: "phxsocket" } };
  const bo = puppet(t, [...python("phxsocket_client"), host.socketUrl, TOPIC, JSON.stringify(params)]);
  assert.deepEqual(await bo.next("joined"), { topic: TOPIC, params });
  assert.deepEqual(await bo.next("event", "presence_state"), { ada: { metas: [{ phx_ref: ref, step: 1 }] } });
  const own = await bo.next("event", "presence_diff");
  const { phx_ref } = own.joins.bo.metas[0];
  assert.deepEqual(own, { joins: { bo: { metas: [{ phx_ref, by: "phxsocket" }] } }, leaves: {} });
  assert.deepEqual(await ada.next("presence_diff"), own);
  await talk(ada, bo);
  await sees(bo, ada, ref);
  await ada.next("presence_diff");
  await bo.close();
  assert.deepEqual(await ada.next("presence_diff"), { joins: {}, leaves: own.joins });
});

test("phoenix_channels_client of crates.io joins, pushes, receives and sees presence", async (t) => {
  const { host, ada, ref } = await room(t);
  // This client joins without parameters, so it isn't tracked.
  const bo = puppet(t, [...rust(), host.socketUrl, TOPIC]);
  assert.equal(await bo.next("joined"), TOPIC);
  assert.equal(await members(host), 2);
  await talk(ada, bo);
  const second = await sees(bo, ada, ref);
  bo.say("push", "presence_list", {});
  const list = { ada: { metas: [{ phx_ref: second, phx_ref_prev: ref, step: 2 }] } };
  assert.deepEqual(await bo.next("reply"), { status: "ok", response: list });
  assert.equal((await ada.push("presence_untrack")).status, "ok");
  assert.deepEqual(await bo.next("event", "presence_diff"), { joins: {}, leaves: list });
  bo.say("leave");
  await until("bo has left", async () => (await members(host)) === 1);
  await bo.close();
});
