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

test("only the choices can be voted for", () => {
  const ada = stage(plugin).join("poll:drinks", { user: "Ada" });
  ada.push("vote", { choice: "milk" });
  ada.assertReply("error", { reason: "choice: expected one of tea, coffee, water" });
});
