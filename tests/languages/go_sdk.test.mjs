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
    const build = ["build", "-buildmode=c-shared", "-trimpath", "-ldflags=-w", "-tags", tags, "-o", path(folder, file), "."];
    await promisify(execFile)("go", build, { cwd: naughty, env });
  }
  const played = [];
  for (const name of await readdir(scripts)) {
    if (!name.endsWith(".script")) continue;
    if (!(await readFile(path(scripts, name), "utf8")).includes("-- skips go-compiled: ")) played.push(name);
  }
  assert.ok(played.length > 20);
  const command = ["test", "--config", "bennu.toml", "--log", "off", "naughty.wasm", ...played];
  const { stdout } = await promisify(execFile)(resolve(binary), command, { cwd: folder, maxBuffer: 1 << 26 });
  assert.equal(stdout.match(/^ok /gm).length, played.length);
});

test("a module takes the SDK from a module proxy, as from its published version, and passes its tests", async (t) => {
  const folder = await mkdtemp(path(tmpdir(), "bennu-"));
  t.after(() => rm(folder, { recursive: true }));
  // What a proxy has of a version: its list, its time, its go.mod and its zip. Python makes the zip, because Node can't.
  const zip = `import json, pathlib, sys, zipfile
sdk, proxy = map(pathlib.Path, sys.argv[1:])
place = proxy / "bennu.dev/bennu/@v"
place.mkdir(parents=True)
(place / "list").write_text("v0.1.0\\n")
(place / "v0.1.0.info").write_text(json.dumps({"Version": "v0.1.0", "Time": "2026-01-01T00:00:00Z"}))
(place / "v0.1.0.mod").write_text((sdk / "go.mod").read_text())
with zipfile.ZipFile(place / "v0.1.0.zip", "w") as packed:
    for file in sorted(sdk.rglob("*")):
        if file.is_file():
            packed.write(file, f"bennu.dev/bennu@v0.1.0/{file.relative_to(sdk).as_posix()}")
`;
  const proxy = path(folder, "proxy");
  await promisify(execFile)("python3", ["-c", zip, path(repository, "sdk/go"), proxy]);
  const project = await newProject(t, { lang: "go" });
  await rm(path(project.folder, "sdk"), { recursive: true });
  await project.write("go.mod", "module app\n\ngo 1.25\n");
  const env = { GOPROXY: `file://${proxy}`, GOSUMDB: "off", GOFLAGS: "-mod=mod", GOMODCACHE: path(folder, "modules"), GOTOOLCHAIN: "local" };
  project.env = { ...process.env, ...env };
  // A module cache is read-only otherwise, and couldn't be removed.
  project.env.GOFLAGS += " -modcacherw";
  await promisify(execFile)("go", ["get", "bennu.dev/bennu@v0.1.0"], { cwd: project.folder, env: project.env });
  assert.match(await project.read("go.mod"), /^require bennu\.dev\/bennu v0\.1\.0/m);
  assert.match(await project.bennu("test"), /\nok {6}go test \.\/\.\.\.\nok {6}tests\/app\.script\n2 passed\n$/);
  const licence = path(folder, "modules/bennu.dev/bennu@v0.1.0/LICENSE");
  assert.equal(await readFile(licence, "utf8"), await readFile(path(repository, "LICENSE"), "utf8"));
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
