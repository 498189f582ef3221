import assert from "node:assert/strict";
import { test } from "node:test";

import { stage } from "bennu/testing";
import plugin from "../plugins/{{name}}.ts";

test("a note waits until it is read", () => {
  const host = stage(plugin);
  const answer = host.send("inbox:ada", "notify", { text: "hi" });
  assert.equal(answer?.status, "ok");

  const ada = host.join("inbox:ada");
  assert.deepEqual(ada.response.unread.map(({ text }: { text: string }) => text), ["hi"]);
  ada.push("read", { id: answer?.payload.id });
  ada.assertBroadcast("read", { id: answer?.payload.id });
  assert.deepEqual(host.join("inbox:ada").response, { unread: [] });
});

test("a user tells another one something", () => {
  const host = stage(plugin);
  const ada = host.join("inbox:ada");
  const bo = host.join("inbox:bo");
  ada.push("tell", { user: "bo", text: "tea?" });
  bo.assertBroadcast("notified", { text: "tea?" });
  ada.refute("notified");
});
