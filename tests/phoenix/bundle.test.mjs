// A plugin in TypeScript with an npm package: `bennu dev` makes one file of it with esbuild.

import assert from "node:assert/strict";
import { resolve } from "node:path";
import { test } from "node:test";

import { startDev, until } from "../host.mjs";
import { connect, join } from "./client.mjs";

const modules = resolve(import.meta.dirname, "../node_modules");

const CONFIG = `
load = ["build"]
[limits]
call_cpu_ms = 500
init_cpu_ms = 5000
[build.merge]
source = "src/merge.ts"
`;

const PLUGIN = `
import { channel, plugin } from "bennu";
import { __assign } from "tslib";
import { VERSION } from "./version";

export default plugin({
  "merge:*": channel({
    on: { merge: ({ one, other }: { one: object; other: object }) => ({ ...__assign({}, one, other), version: VERSION }) },
  }),
});
`;

test("a plugin with a package is bundled, and again on each save", async (t) => {
  const files = { "bennu.toml": CONFIG, "package.json": "{}", "src/merge.ts": PLUGIN, "src/version.ts": "export const VERSION = 1" };
  const host = await startDev(t, files, { modules });
  const channel = await join(connect(t, host), "merge:1");
  const ask = async (event, payload) => (await channel.push(event, payload)).response;
  assert.deepEqual(await ask("merge", { one: { a: 1 }, other: { b: 2 } }), { a: 1, b: 2, version: 1 });

  await host.write("src/version.ts", "export const VERSION = 2");
  await until("the next generation serves", () => host.log.includes("merge: generation 2 in "));
  assert.equal((await ask("merge", { one: {}, other: {} })).version, 2);

  await host.write("src/version.ts", "export const VERSION = ;");
  await until("the build fails", () => host.log.includes("merge: the build failed"));
  assert.match(host.log, /ERROR\] Unexpected ";"\n\n    src\/version\.ts:1:23:/);
  assert.equal((await ask("merge", { one: {}, other: {} })).version, 2);
});
