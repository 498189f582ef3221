// Clients by other authors in topics with a history. They don't ask for missed messages, so they get broadcasts as in any other topic.
// Two of these clients would refuse a broadcast that has its number as ref.

import assert from "node:assert/strict";
import { test } from "node:test";
import { RealtimeClient } from "@supabase/realtime-js";
import { WebSocket } from "ws";

import { startHost, until, within } from "../host.mjs";
import { connect, join } from "../phoenix/client.mjs";
import { python, rust } from "./programs.mjs";
import { puppet } from "./puppet.mjs";

const KEPT = `
import { channel, plugin } from "bennu";

const history = { count: 100 };

export default plugin({
  "room:*": channel({
    history,
    on: {
      echo: (payload: object) => payload,
      shout(payload: object, socket) {
        socket.broadcast("shout", payload);
      },
    },
  }),
  "realtime:*": channel({
    history,
    join: () => ({}),
    on: {
      broadcast(payload: object, socket) {
        socket.broadcast("broadcast", payload);
      },
      access_token() {},
    },
  }),
});
`;

/** A host with such topics. */
const start = (t) => startHost(t, { scripts: { "kept.ts": KEPT } });

for (const [name, command, params] of [
  ["phxsocket of PyPI", python("phxsocket_client"), ["{}"]],
  ["phoenix_channels_client of crates.io", rust(), []],
]) {
  test(`${name} is a member of a topic with a history`, async (t) => {
    const host = await start(t);
    const ada = await join(connect(t, host), "room:clients");
    const bo = puppet(t, [...command, host.socketUrl, "room:clients", ...params]);
    await bo.next("joined");
    for (const n of [1, 2, 3]) {
      ada.send("shout", { n });
      assert.deepEqual(await bo.next("event", "shout"), { n });
      bo.say("push", "echo", { n });
      assert.deepEqual(await bo.next("reply"), { status: "ok", response: { n } }, "replies are still found by their refs");
    }
    await bo.close();
  });
}

test("the clients of Supabase Realtime are members of a topic with a history", async (t) => {
  const host = await start(t);
  const bo = puppet(t, [...python("realtime_client"), host.socketUrl, "lobby", "bo"]);
  assert.equal(await bo.next("state"), "SUBSCRIBED");
  const client = new RealtimeClient(host.socketUrl, { params: { apikey: "none" }, vsn: "1.0.0", transport: WebSocket });
  t.after(() => client.disconnect());
  const channel = client.channel("lobby", { config: { broadcast: { self: true } } });
  const received = [];
  channel.on("broadcast", { event: "cursor" }, ({ payload }) => received.push(payload.n));
  const joined = new Promise((resolve) => channel.subscribe((state) => resolve(state)));
  assert.equal(await within("the client to be admitted", joined), "SUBSCRIBED");
  for (const n of [1, 2, 3]) {
    bo.say("broadcast", "cursor", { n });
    assert.deepEqual(await bo.next("broadcast"), { event: "cursor", payload: { n } });
  }
  await until("all have arrived", () => received.length === 3);
  assert.deepEqual(received, [1, 2, 3]);
  await bo.close();
});
