// Supabase's clients for JavaScript and Python in one room, together with phoenix.js.
//
// Version 2.99 of realtime-js is the last with its own client. Later versions wrap a copy of phoenix.js.

import assert from "node:assert/strict";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { RealtimeClient } from "@supabase/realtime-js";
import { Presence } from "phoenix";
import { WebSocket } from "ws";

import { startHost, until, within } from "../host.mjs";
import { connect, Joined } from "../phoenix/client.mjs";
import { python } from "./programs.mjs";
import { puppet } from "./puppet.mjs";

/** A list of presences without the refs, because refs differ in each run. */
const online = (state) =>
  Object.fromEntries(
    Object.entries(state).map(([key, metas]) => [key, metas.map(({ presence_ref, ...meta }) => [!!presence_ref, meta])]),
  );

/** Joins as ada, with realtime-js. */
async function join(test, host) {
  // In version 2, this client uses binary frames that Phoenix doesn't have.
  const client = new RealtimeClient(host.socketUrl, { params: { apikey: "none" }, vsn: "1.0.0", transport: WebSocket });
  test.after(() => client.disconnect());
  const config = { broadcast: { self: false, ack: true }, presence: { key: "ada" } };
  const channel = client.channel("lobby", { config });
  const ada = { channel, received: [], online: () => online(channel.presenceState()) };
  channel.on("broadcast", { event: "cursor" }, (message) => ada.received.push(message));
  channel.on("presence", { event: "sync" }, () => {});
  const state = new Promise((resolve) => channel.subscribe((state, error) => resolve([state, error])));
  assert.deepEqual(await within("ada to be admitted", state), ["SUBSCRIBED", undefined]);
  return ada;
}

/** Waits until the Python client shows this list of presences. */
async function shows(client, expected) {
  for (;;) {
    const shown = online(await client.next("presence"));
    if (isDeepStrictEqual(shown, expected)) return;
  }
}

test("realtime-js and Python's realtime broadcast to each other, and see who is online", async (t) => {
  const host = await startHost(t, { plugins: ["realtime"] });
  const ada = await join(t, host);
  const bo = puppet(t, [...python("realtime_client"), host.socketUrl, "lobby", "bo"]);
  assert.equal(await bo.next("state"), "SUBSCRIBED");
  const socket = connect(t, host);
  const witness = new Joined(socket.channel("realtime:lobby", { config: {} }));
  const presence = new Presence(witness.channel);
  assert.deepEqual(await witness.join(), { status: "ok", response: {} });

  assert.equal(await ada.channel.track({ mood: "well" }), "ok");
  await shows(bo, { ada: [[true, { mood: "well" }]] });
  bo.say("track", { mood: "fine" });
  const both = { ada: [[true, { mood: "well" }]], bo: [[true, { mood: "fine" }]] };
  await shows(bo, both);
  await until("ada sees bo", () => ada.channel.presenceState().bo);
  assert.deepEqual(ada.online(), both);
  await until("phoenix.js sees both", () => presence.list().length === 2);
  assert.deepEqual(presence.list((key, { metas }) => [key, metas[0].mood]), [["ada", "well"], ["bo", "fine"]]);

  assert.equal(await ada.channel.send({ type: "broadcast", event: "cursor", payload: { x: 1 } }), "ok");
  // The Python client removes the type.
  assert.deepEqual(await bo.next("broadcast"), { event: "cursor", payload: { x: 1 } });
  bo.say("broadcast", "cursor", { x: 2, name: "böö" });
  const second = { type: "broadcast", event: "cursor", payload: { x: 2, name: "böö" } };
  await until("ada receives bo's broadcast", () => ada.received.length > 0);
  assert.deepEqual(ada.received, [second]);
  assert.deepEqual(await witness.next("broadcast"), { type: "broadcast", event: "cursor", payload: { x: 1 } });
  assert.deepEqual(await witness.next("broadcast"), second);

  assert.equal(await ada.channel.track({ mood: "better" }), "ok");
  await shows(bo, { bo: both.bo, ada: [[true, { mood: "better" }]] });
  await bo.close();
  await until("bo is gone", () => !ada.channel.presenceState().bo);
  assert.deepEqual(ada.online(), { ada: [[true, { mood: "better" }]] });
  assert.equal(await ada.channel.unsubscribe(), "ok");
  await until("nobody is left", () => presence.list().length === 0);
});
