// The SDK in Go: its own tests, the scripts of tests/scripts, and its documentation.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join as path, resolve } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

import { binary } from "../host.mjs";
import { newProject } from "../project.mjs";

/** Runs Go in a folder. */
const go = (folder, ...command) =>
  promisify(execFile)("go", command, { cwd: folder, env: { ...process.env, BENNU: resolve(binary) }, maxBuffer: 1 << 26 });
const repository = path(import.meta.dirname, "../..");
const naughty = path(repository, "tests/kit/go");

test("the SDK passes its tests and the checks of Go, and its test kit plays every script", async () => {
  for (const folder of [path(repository, "sdk/go"), naughty]) {
    await go(folder, "vet", "./...");
    await go(folder, "test", "./...");
  }
  const wasm = { ...process.env, GOOS: "wasip1", GOARCH: "wasm" };
  await promisify(execFile)("go", ["vet", "./..."], { cwd: path(repository, "sdk/go"), env: wasm });
});

test("the compiled plugin plays every script", async (t) => {
  const folder = await mkdtemp(path(tmpdir(), "bennu-"));
  t.after(() => rm(folder, { recursive: true }));
  const scripts = path(repository, "tests/scripts");
  await cp(scripts, folder, { recursive: true });
  const env = { ...process.env, GOOS: "wasip1", GOARCH: "wasm" };
  for (const [file, tags] of [["naughty.wasm", ""], ["variants/naughty-entries.wasm", "second"]]) {
    const build = ["build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-tags", tags, "-o", path(folder, file), "."];
    await promisify(execFile)("go", build, { cwd: naughty, env });
  }
  // A panic is an error that the plugin returns, so it ends no instance.
  const played = (await readdir(scripts)).filter((name) => name.endsWith(".script") && name !== "traps.script");
  assert.ok(played.length > 20);
  const command = ["test", "--config", "bennu.toml", "--log", "off", "naughty.wasm", ...played];
  const { stdout } = await promisify(execFile)(resolve(binary), command, { cwd: folder, maxBuffer: 1 << 26 });
  assert.equal(stdout.match(/^ok /gm).length, played.length);
});

test("the programs of docs/go.md compile", async (t) => {
  const page = await readFile(path(repository, "docs/go.md"), "utf8");
  const programs = [...page.matchAll(/^```go\n(.*?)^```$/gms)].map(([, text]) => text);
  assert.equal(programs.length, 4);
  const project = await newProject(t, { lang: "go" });
  await rm(path(project.folder, "main_test.go"));
  const [chat, ...others] = programs.filter((text) => !text.includes('"testing"'));
  for (const program of [...others, chat]) {
    await project.write("main.go", program);
    await project.bennu("build");
  }
  await project.write("main_test.go", programs.find((text) => text.includes('"testing"')));
  assert.match(await project.bennu("test", "--no-build"), /^ok {6}go test/);
});
