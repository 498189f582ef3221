import assert from "node:assert/strict";
import { test } from "node:test";

import { stage } from "bennu/testing";
import plugin from "../plugins/{{name}}.ts";

test("a message reaches everybody in the room", () => {
  const host = stage(plugin);
  const ada = host.join("room:lobby", { user: "Ada" });
  const bo = host.join("room:lobby", { user: "Bo" });
  ada.assertBroadcast("joined", { user: "Bo" });
  assert.deepEqual(Object.keys(host.presences("room:lobby")), ["Ada", "Bo"]);

  ada.push("new_msg", { body: "hi" });
  ada.assertReply("ok");
  bo.assertBroadcast("new_msg", { user: "Ada", body: "hi" });

  ada.close();
  bo.assertBroadcast("left", { user: "Ada" });
});

test("a client without a name can't join", () => {
  assert.throws(() => stage(plugin).join("room:lobby"), /user: expected a string/);
});
