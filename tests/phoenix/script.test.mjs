// Plugins in TypeScript, without a toolchain: the file is the plugin.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { startHost, until } from "../host.mjs";
import { checkTypes } from "../types.mjs";
import { connect, join } from "./client.mjs";

const sdk = fileURLToPath(new URL("../../sdk/typescript", import.meta.url));
const chat = await readFile(new URL("../../templates/files/chat/chat.ts", import.meta.url), "utf8");

test("the types of the SDK, of its example and of the engine fit together", () => checkTypes(sdk));

test("the chat of the documentation serves the official client", async (t) => {
  const host = await startHost(t, { scripts: { "chat.ts": chat } });
  const alice = await join(connect(t, host), "room:lobby", { user: "alice" });
  const bob = await join(connect(t, host), "room:lobby", { user: "bob" });
  assert.deepEqual(await alice.next("joined"), { user: "bob" });
  assert.equal((await bob.next("presence_state")).alice.metas.length, 1);

  const sent = await alice.push("new_msg", { body: "hi ü 🐬" });
  assert.deepEqual(sent, { status: "ok", response: {} });
  for (const client of [alice, bob]) assert.deepEqual(await client.next("new_msg"), { user: "alice", body: "hi ü 🐬" });
  assert.deepEqual(await alice.push("wink"), { status: "error", response: { reason: 'unknown event "wink"' } });
  await assert.rejects(join(connect(t, host), "room:lobby"), /user: expected a string/);

  await bob.leave();
  assert.deepEqual(await alice.next("left"), { user: "bob" });
});

test("a saved script answers with the old state, and a broken one is taken back with its place in the log", async (t) => {
  const host = await startHost(t, { scripts: { "chat.ts": chat } });
  const alice = await join(connect(t, host), "room:lobby", { user: "alice" });
  await alice.push("new_msg", { body: "one" });
  assert.equal((await alice.next("new_msg")).body, "one");

  await host.write("chat.ts", chat.replace("user: socket.state.user, body }", "user: socket.state.user, body: `${body}!` }"));
  await until("the new code answers", async () => {
    await alice.push("new_msg", { body: "two" });
    const { user, body } = await alice.next("new_msg");
    assert.equal(user, "alice", "the state is kept");
    return body === "two!";
  });

  await host.write("chat.ts", chat.replace("return {};", "return socket.state.user.missing();"));
  await until("the refusal or the fault is in the log", async () => {
    const { status } = await alice.push("new_msg", { body: "three" });
    assert.equal(status, "ok", "the build on probation is backed by the one before");
    return host.log.includes("TypeError: not a function; in new_msg (chat.ts:19:");
  });
  assert.equal(alice.joins, 1, "nobody had to join again");
});

test("a script with a mistake is refused with its place, and the running build continues", async (t) => {
  const host = await startHost(t, { scripts: { "chat.ts": chat } });
  const alice = await join(connect(t, host), "room:lobby", { user: "alice" });
  await host.write("chat.ts", chat.replace("return {};", "return {;"));
  await until("the log has the place", () => host.log.includes("chat.ts:19:17: "));
  assert.equal((await alice.push("new_msg", { body: "hi" })).status, "ok");
});
