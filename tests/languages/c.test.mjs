// The plugins in C and Zig that docs/languages.md shows, built with the commands that it shows.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

import { binary, startHost, until } from "../host.mjs";
import { connect, join as joinTopic } from "../phoenix/client.mjs";

const page = await readFile(join(import.meta.dirname, "../../docs/languages.md"), "utf8");

/** The blocks of code of a section, by language. */
function blocks(section) {
  const start = page.indexOf(`\n## ${section}\n`), end = page.indexOf("\n## ", start + 1);
  assert.notEqual(start, -1, `docs/languages.md has a section "${section}"`);
  const found = page.slice(start, end < 0 ? undefined : end).matchAll(/^```(\w+)\n(.*?)^```$/gms);
  return Object.fromEntries([...found].map(([, language, text]) => [language, text]));
}

const { text: script } = blocks("By hand in Zig");

/** A folder with the source of a section, and a shell in it. */
async function folderOf(t, section, language, change = (text) => text) {
  const folder = await mkdtemp(join(tmpdir(), "bennu-"));
  t.after(() => rm(folder, { recursive: true, maxRetries: 10 }));
  const { [language]: source, sh: commands } = blocks(section);
  await writeFile(join(folder, `count.${language}`), change(source));
  // PyPI's package has the compiler under this name.
  const prelude = 'command -v zig > /dev/null || zig() { python-zig "$@"; }\nset -e\n';
  const env = { ...process.env, PATH: `${dirname(resolve(binary))}:${process.env.PATH}` };
  const run = async (lines) => (await promisify(execFile)("sh", ["-c", prelude + lines], { cwd: folder, env })).stdout;
  return { folder, commands, run };
}

/** Serves the built plugin, and joins it. */
async function served(t, folder) {
  const host = await startHost(t, {});
  await host.replace("count", await readFile(join(folder, "count.wasm")));
  await until("the plugin is loaded", () => /plugin_loaded.*plugin="count"/.test(host.log));
  return { host, ada: await joinTopic(connect(t, host), "count:1") };
}

for (const [section, language] of [["By hand in C", "c"], ["By hand in Zig", "zig"]]) {
  test(`the plugin of "${section}" builds, passes its script and serves the official client`, async (t) => {
    const { folder, commands, run } = await folderOf(t, section, language);
    await writeFile(join(folder, "count.script"), script);
    assert.match(await run(commands), /count\.wasm is a plugin for version 0\.1\.0 of the contract/);
    assert.equal(await run("bennu test count.wasm count.script"), "ok      count.script\n");
    const { ada } = await served(t, folder);
    assert.deepEqual(await ada.push("hi", { body: "ü" }), { status: "ok", response: { count: 1 } });
    assert.deepEqual(await ada.next("hi"), { body: "ü" });
    assert.deepEqual(await ada.push("hi"), { status: "ok", response: { count: 2 } });
  });
}

test("with `-g`, a trap in C has the file and the line", async (t) => {
  const before = "  uint32_t count;\n";
  const trap = "  if (event->len == 5) __builtin_trap();\n";
  const { folder, commands, run } = await folderOf(t, "By hand in C", "c", (text) => text.replace(before, before + trap));
  await run(commands.replace(" -Os ", " -Os -g "));
  const { host, ada } = await served(t, folder);
  const line = (await readFile(join(folder, "count.c"), "utf8")).split("\n").indexOf(trap.trimEnd()) + 1;
  ada.send("crash");
  const place = new RegExp(`fault.*; in exports_bennu_channel_channel_handle_in \\(\\S*count\\.c:${line}\\)`);
  await until("the fault has the place", () => place.test(host.log));
});
