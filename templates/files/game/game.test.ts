import assert from "node:assert/strict";
import { test } from "node:test";

import { stage } from "bennu/testing";
import plugin from "../plugins/{{name}}.ts";

test("a hit is a point, and a miss is none", () => {
  const host = stage(plugin);
  const ada = host.join("game:1", { user: "Ada" });
  const bo = host.join("game:1", { user: "Bo" });
  ada.push("hit", ada.roomState.target);
  ada.assertReply("ok");
  bo.push("hit", { x: -1, y: 0 });
  bo.assertReply("error", { reason: "missed" });
  assert.deepEqual(bo.roomState.scores, { Ada: 1, Bo: 0 });
});

test("a player who comes back in time keeps the score", () => {
  const host = stage(plugin);
  const ada = host.join("game:1", { user: "Ada" });
  const bo = host.join("game:1", { user: "Bo" });
  ada.push("hit", ada.roomState.target);
  ada.close();
  host.advance(9_000);
  assert.deepEqual(host.join("game:1", { user: "Ada" }).roomState.scores, { Ada: 1, Bo: 0 });
  bo.close();
  host.advance(11_000);
  assert.deepEqual(host.join("game:1", { user: "Cy" }).roomState.scores, { Ada: 1, Cy: 0 });
});
