import assert from "node:assert/strict";
import { test } from "node:test";

import { stage } from "bennu/testing";
import plugin from "../plugins/app.ts";

test("a channel", () => {
  const host = stage(plugin);
  const ada = host.join("room:1", { user: "Ada" });
  ada.push("new_msg", { body: "hi" });
  ada.assertReply("ok", { sent: 1, messages: 1 });
  ada.push("remind", { ms: 1000 });
  host.advance(1000);
  ada.assertPush("reminder", { payload: { sent: 1 } });
  ada.push("crash");
  assert.equal(host.faults.length, 1);
});
