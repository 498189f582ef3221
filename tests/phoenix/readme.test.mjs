// The channel of README.md in TypeScript, and the page's client. The Rust channel is compiled and run by the tests of `bennu-guest`.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { startHost, until } from "../host.mjs";
import { checkPlugins, run } from "../pages.mjs";
import { connect, join } from "./client.mjs";

const readme = await readFile(new URL("../../README.md", import.meta.url), "utf8");
const block = (language) => new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, "ms").exec(readme)[1];
const chat = block("ts");

test("the types of the channel are right", () => checkPlugins([new Map([["plugins/chat.ts", chat]])]));

test("the channel answers as the one in Rust does", async (t) => {
  const host = await startHost(t, { scripts: { "chat.ts": chat } });
  const bob = await join(connect(t, host), "room:lobby", { user: "bob" });
  const shown = [];
  await run(t, host, block("js"), { console: { log: (...words) => shown.push(words.join(" ")) } });
  assert.deepEqual(await bob.next("joined"), { user: "alice" });
  assert.deepEqual(await bob.next("new_msg"), { user: "alice", body: "hi" });
  await until("the page shows the message", () => shown.includes("alice hi"));
  const reason = "body: expected a string";
  assert.deepEqual(await bob.push("new_msg"), { status: "error", response: { reason } });
  await assert.rejects(join(connect(t, host), "room:lobby"), /user: expected a string/);
});
