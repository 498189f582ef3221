// How the official client uses each template of `bennu new`. It is the same in each language.

import assert from "node:assert/strict";

import { until } from "./host.mjs";
import { connect, join } from "./phoenix/client.mjs";

/** What the official client gets of each template. */
export const USES = {
  async chat(t, host) {
    const [ada, bo] = await both(t, host, "room:lobby");
    assert.deepEqual(await ada.next("joined"), { user: "Bo" });
    assert.deepEqual(Object.keys(await bo.next("presence_state")), ["Ada"]);
    assert.deepEqual(await ada.push("new_msg", { body: "hi ü" }), { status: "ok", response: {} });
    for (const client of [ada, bo]) assert.deepEqual(await client.next("new_msg"), { user: "Ada", body: "hi ü" });
    await assert.rejects(join(connect(t, host), "room:lobby"), /user: .*expected a string/);
    await bo.leave();
    assert.deepEqual(await ada.next("left"), { user: "Bo" });
  },
  async room(t, host) {
    const [ada, bo] = await both(t, host, "poll:drinks");
    assert.deepEqual((await ada.next("room_state")).state, { counts: { tea: 0, coffee: 0, water: 0 }, winner: null });
    assert.deepEqual(await bo.push("vote", { choice: "tea" }), { status: "ok", response: {} });
    assert.deepEqual((await ada.next("room_diff")).patch, { counts: { tea: 1 } });
    assert.equal((await bo.push("vote", { choice: "milk" })).status, "error");
  },
  async game(t, host) {
    const [ada, bo] = await both(t, host, "game:1");
    assert.deepEqual((await ada.next("room_state")).state.scores, { Ada: 0 });
    await until("Bo has a seat", async () => (await ada.next("room_diff")).patch.scores?.Bo === 0);
    assert.deepEqual(await bo.push("hit", { x: 9, y: 9 }), { status: "error", response: { reason: "missed" } });
    const moved = await bo.next("room_diff");
    assert.ok(moved.patch.target || moved.patch.scores, "the target moves with the tick");
  },
  async notifications(t, host) {
    assert.match(await host.bennu("send", "inbox:Ada", "notify", '{"text": "hi"}'), /"id"/);
    const [ada, bo] = await both(t, host, "inbox:Ada", "inbox:Bo");
    assert.deepEqual(await bo.push("tell", { user: "Ada", text: "tea?" }), { status: "ok", response: {} });
    const { id, text } = await ada.next("notified");
    assert.equal(text, "tea?");
    await ada.push("read", { id });
    assert.deepEqual(await ada.next("read"), { id });
  },
};

async function both(t, host, topic, other = topic) {
  const ada = await join(connect(t, host), topic, { user: "Ada" });
  return [ada, await join(connect(t, host), other, { user: "Bo" })];
}
