import assert from "node:assert/strict";
import { test } from "node:test";

import { stage } from "bennu/testing";
import plugin from "../plugins/{{name}}.ts";

test("all members see the same counts", () => {
  const host = stage(plugin);
  const ada = host.join("poll:drinks", { user: "Ada" });
  const bo = host.join("poll:drinks", { user: "Bo" });

  ada.push("vote", { choice: "tea" });
  bo.push("vote", { choice: "tea" });
  ada.push("vote", { choice: "water" });
  ada.assertReply("ok");
  for (const member of [ada, bo]) assert.deepEqual(member.roomState.counts, { tea: 1, coffee: 0, water: 1 });
});

test("a round ends although nobody is there", () => {
  const host = stage(plugin);
  const ada = host.join("poll:drinks", { user: "Ada" });
  ada.push("vote", { choice: "water" });
  ada.close();
  host.advance(60_000);

  const bo = host.join("poll:drinks", { user: "Bo" });
  assert.deepEqual(bo.roomState, { counts: { tea: 0, coffee: 0, water: 0 }, winner: "water" });
});

test("only the choices can be voted for", () => {
  const ada = stage(plugin).join("poll:drinks", { user: "Ada" });
  ada.push("vote", { choice: "milk" });
  ada.assertReply("error", { reason: "choice: expected one of tea, coffee, water" });
});
