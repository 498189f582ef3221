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

for (const [section, language] of [["By hand in C", "c"], ["By hand in Zig", "zig"]]) {
  test(`the plugin of "${section}" builds, passes its script and serves the official client`, async (t) => {
    const folder = await mkdtemp(join(tmpdir(), "bennu-"));
    t.after(() => rm(folder, { recursive: true, maxRetries: 10 }));
    const { [language]: source, sh: commands } = blocks(section);
    await writeFile(join(folder, `count.${language}`), source);
    await writeFile(join(folder, "count.script"), script);
    // PyPI's package has the compiler under this name.
    const prelude = 'command -v zig > /dev/null || zig() { python-zig "$@"; }\nset -e\n';
    const env = { ...process.env, PATH: `${dirname(resolve(binary))}:${process.env.PATH}` };
    const run = (line) => promisify(execFile)("sh", ["-c", line], { cwd: folder, env });
    const { stdout } = await run(prelude + commands);
    assert.match(stdout, /count\.wasm is a plugin for version 0\.1\.0 of the contract/);
    assert.equal((await run("bennu test count.wasm count.script")).stdout, "ok      count.script\n");

    const host = await startHost(t, {});
    await host.replace("count", await readFile(join(folder, "count.wasm")));
    await until("the plugin is loaded", () => /plugin_loaded.*plugin="count"/.test(host.log));
    const ada = await joinTopic(connect(t, host), "count:1");
    assert.deepEqual(await ada.push("hi", { body: "ü" }), { status: "ok", response: { count: 1 } });
    assert.deepEqual(await ada.next("hi"), { body: "ü" });
    assert.deepEqual(await ada.push("hi"), { status: "ok", response: { count: 2 } });
  });
}
