// The life of a project, the same in each language: it is made, built, tested and served, its code changes under the official client,
// an exception names its place, and the build before serves again.

import assert from "node:assert/strict";
import { copyFile, readFile } from "node:fs/promises";
import { join as path } from "node:path";

import { until } from "./host.mjs";
import { connect, join } from "./phoenix/client.mjs";

const sources = path(import.meta.dirname, "languages");

/** What differs between the languages. */
export const LANGUAGES = {
  ts: {
    name: "TypeScript",
    files: { "typescript/app.ts": "plugins/app.ts", "typescript/app.test.ts": "tests/app.test.ts" },
    served: "plugins/app.ts",
    built: /^plugins\/app\.ts {2}\d\.\d KB {2}room:\* {2}checked\n$/,
    tested: /^ok {6}\S*node\S* .*tests\/app\.test\.ts\nok {6}tests\/app\.script\n2 passed\n$/,
    second: [["const build = 1", "const build = 2"], ["sent: 0 }", 'sent: 0, note: "" }']],
    crash: ["list[1]", (line) => `TypeError: cannot read property 'toFixed' of undefined; in second \\(app\\.ts:${line}:\\d+\\), called by crash \\(app\\.ts:`],
  },
  rust: {
    name: "Rust",
    files: { "rust/lib.rs": "src/lib.rs", "rust/tests.rs": "src/tests.rs" },
    served: "build/app.wasm",
    built: /^build\/app\.wasm {2}\d+\.\d [KM]B {2}room:\* {2}in /,
    tested: /^ok {6}cargo test --quiet\nok {6}tests\/app\.script\n2 passed\n$/,
    second: [["BUILD: u32 = 1", "BUILD: u32 = 2"], ["sent: u32,", "sent: u32,\n    note: String,"]],
    crash: ["list[1]", (line) => `panicked at src/lib\\.rs:${line}:5: index out of bounds: the len is 0 but the index is 1`],
  },
  go: {
    name: "Go",
    files: { "go/main.go": "main.go", "go/main_test.go": "main_test.go" },
    served: "build/app.wasm",
    built: /^build\/app\.wasm {2}[45]\.\d MB {2}room:\* {2}in /,
    tested: /^ok {6}go test \.\/\.\.\.\nok {6}tests\/app\.script\n2 passed\n$/,
    second: [["const build = 1", "const build = 2"], ["Sent int", "Sent int\n\tNote string"]],
    crash: ["return list[1]", (line) =>
      "panic: runtime error: index out of range \\[1\\] with length 0" +
      `; in main\\.second \\(main\\.go:${line}\\), called by main\\.\\(\\*Member\\)\\.HandleIn \\(main\\.go:\\d+\\)`],
  },
  python: {
    name: "Python",
    files: { "python/channels.py": "src/channels.py", "python/test_channels.py": "tests/test_channels.py" },
    served: "build/app.wasm",
    built: /^build\/app\.wasm {2}\d+\.\d MB {2}room:\* {2}in /,
    tested: /^ok {6}\S*python\S* .*\nok {6}tests\/app\.script\n2 passed\n$/,
    second: [["BUILD = 1", "BUILD = 2"], ["sent: int = 0", 'sent: int = 0\n    note: str = ""']],
    crash: ["return items[1]", (line) => `IndexError: list index out of range; in second \\(src/channels\\.py:${line}\\), called by Member\\.crash \\(src/channels\\.py:\\d+\\)`],
  },
};

/** Puts the channel of this test into a new project, and runs its whole life. Returns the host and a member, for further steps. */
export async function live(t, project, language) {
  assert.match(project.printed, new RegExp(`in ${language.name}\\. Next:\\n\\n {2}cd app\\n(.*\\n)? {2}bennu dev\\n$`));
  for (const [file, to] of Object.entries({ ...language.files, "app.script": "tests/app.script" })) {
    await copyFile(path(sources, file), path(project.folder, to));
  }
  assert.match(await project.bennu("build"), language.built);
  assert.match(await project.bennu("test", "--no-build"), language.tested);

  // The second build is made before the host starts, so that it replaces the first one while a timer runs.
  const [mark, fault] = language.crash;
  const line = (await project.read(project.source)).split("\n").findIndex((text) => text.includes(mark)) + 1;
  const first = await readFile(path(project.folder, language.served));
  await project.edit((text) => language.second.reduce((text, [before, after]) => text.replace(before, after), text));
  await project.bennu("build");
  const second = await readFile(path(project.folder, language.served));
  await project.write(language.served, first);

  const host = await project.serve(t);
  const { ada, send } = await uses(t, host);
  // The state, the room and a timer are those of the first build.
  await ada.push("remind", { ms: 5000 });
  await project.write(language.served, second);
  await until("the new build answers", async () => (await send()).build === 2);
  const answer = await send();
  assert.equal(answer.sent, answer.messages);
  assert.equal((await ada.next("reminder")).build, 2);
  assert.equal(ada.joins, 1, "nobody had to join again");

  await host.bennu("plugins", "rollback", "app");
  await until("the first build answers again", async () => (await send()).build === 1);
  assert.equal(ada.joins, 1, "nobody had to join again");

  ada.send("crash");
  await until("the fault is in the log", () => new RegExp(fault(line)).test(host.log));
  return { host, ada };
}

/** The official client joins, is refused, pushes, and gets replies, broadcasts, presences and stored values. */
async function uses(t, host) {
  const ada = await join(connect(t, host), "room:1", { user: "Ada" });
  const bo = await join(connect(t, host), "room:1", { user: "Bo" });
  assert.deepEqual(await ada.next("joined"), { user: "Bo" });
  assert.deepEqual(Object.keys(await bo.next("presence_state")), ["Ada"]);
  await assert.rejects(join(connect(t, host), "room:1"), /user: missing, expected a string/);
  const send = async () => (await ada.push("new_msg", { body: "hi ü" })).response;
  assert.deepEqual(await send(), { sent: 1, messages: 1, build: 1 });
  for (const client of [ada, bo]) assert.deepEqual(await client.next("new_msg"), { user: "Ada", payload: { body: "hi ü" } });
  assert.deepEqual(await ada.push("refused"), { status: "error", response: { reason: "no" } });
  assert.deepEqual((await ada.push("wink")).response, { reason: 'unknown event "wink"' });
  // The store counts the visits of a user.
  const again = connect(t, host).channel("room:1", { user: "Ada" }).join();
  assert.deepEqual(await new Promise((resolve, reject) => again.receive("ok", resolve).receive("error", reject)), { visits: 2 });
  return { ada, send };
}
