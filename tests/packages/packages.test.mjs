// The packages that carry the executable, installed from their files as a user installs them from a registry.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { promisify } from "node:util";

import { within } from "../host.mjs";
import { connect, join as joinTopic } from "../phoenix/client.mjs";
import { checkTypes } from "../types.mjs";

const run = promisify(execFile);
const packages = process.env.BENNU_PACKAGES;
const files = await readdir(packages);
const packed = (suffix) => files.filter((file) => file.endsWith(suffix)).map((file) => join(packages, file));
const template = (file) => readFile(new URL(`../../templates/files/chat/${file}`, import.meta.url), "utf8");
const [chat, tests] = await Promise.all([template("chat.ts"), template("chat.test.ts")]);

/** An empty folder that is removed with the test. */
async function folderFor(t) {
  const folder = await mkdtemp(join(tmpdir(), "bennu-package-"));
  t.after(() => rm(folder, { recursive: true }));
  return folder;
}

/** Starts `bennu serve` in a folder with a chat, and waits until it listens. */
async function serve(t, folder, command, args) {
  await writeFile(join(folder, "chat.ts"), chat);
  const server = spawn(command, [...args, "serve", "chat.ts", "--listen", "127.0.0.1:0"], {
    cwd: folder,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(server, "exit");
  t.after(() => server.kill("SIGKILL"));
  const [line] = await within("the line with the address", once(createInterface(server.stdout), "line"));
  return { server, ended, socketUrl: `${line.replace("Listening on http://", "ws://")}/socket` };
}

/** Starts `bennu dev` in a project, and a client uses it. A package runner may not pass a signal on, so the whole group gets it. */
async function developed(t, folder, command, args) {
  const options = { cwd: folder, detached: true, stdio: ["ignore", "pipe", "inherit"] };
  const server = spawn(command, [...args, "--listen", "127.0.0.1:0"], options);
  const ended = once(server, "exit");
  t.after(() => server.exitCode === null && server.signalCode === null && process.kill(-server.pid, "SIGKILL"));
  for await (const line of createInterface(server.stdout)) {
    const [, address] = /^Listening on http:\/\/(\S+)/.exec(line) ?? [];
    if (!address) continue;
    const alice = await joinTopic(connect(t, { socketUrl: `ws://${address}/socket` }), "room:lobby", { user: "alice" });
    assert.deepEqual(await alice.push("new_msg", { body: "hi" }), { status: "ok", response: {} });
    process.kill(-server.pid, "SIGTERM");
    break;
  }
  await within("the end of the server", ended);
}

/** A client joins and pushes. Then the server is told to stop, and stops in order. */
async function chats(t, { server, ended, socketUrl }) {
  const alice = await joinTopic(connect(t, { socketUrl }), "room:lobby", { user: "alice" });
  assert.deepEqual(await alice.push("new_msg", { body: "hi" }), { status: "ok", response: {} });
  server.kill("SIGTERM");
  assert.deepEqual(await within("the end of the server", ended), [0, null]);
}

test("npm: the executable is installed for this platform, and stops with its starter", async (t) => {
  const folder = await folderFor(t);
  await writeFile(join(folder, "package.json"), "{}");
  const npm = ["install", "--no-audit", "--no-fund", ...packed(".tgz").filter((file) => file.includes("bennu-server-"))];
  await run("npm", npm, { cwd: folder });
  const starter = join(folder, "node_modules/.bin/bennu");
  assert.match((await run(starter, ["--version"])).stdout, /^bennu \d+\.\d+\.\d+\n$/);
  assert.match((await run("npx", ["bennu-server", "--version"], { cwd: folder })).stdout, /^bennu /);
  // What docs/install.md says: a project is made and served by npx in the folder of the package.
  const made = await run("npx", ["bennu", "new", "app"], { cwd: folder });
  assert.match(made.stdout, /\n {2}cd app\n {2}bennu dev\n$/);
  await developed(t, join(folder, "app"), "npx", ["bennu", "dev"]);
  const failed = await run(starter, ["check", "nothing.ts"]).catch((error) => error);
  assert.equal(failed.code, 1, "the status is that of the executable");
  await chats(t, await serve(t, folder, starter, []));
});

test("npm: without the package of the platform, the starter says what is missing", async (t) => {
  const folder = await folderFor(t);
  await writeFile(join(folder, "package.json"), "{}");
  const starter = packed(".tgz").filter((file) => /bennu-server-\d/.test(file));
  assert.equal(starter.length, 1);
  await run("npm", ["install", "--no-audit", "--no-fund", "--omit=optional", ...starter], { cwd: folder });
  const failed = await run(join(folder, "node_modules/.bin/bennu"), ["--version"]).catch((error) => error);
  assert.equal(failed.code, 1);
  assert.match(failed.stderr, /the package bennu-server-\S+ isn't installed.*`cargo install --path host` in a checkout/s);
});

/** The packed file with this name, without its version. */
const one = (name) => {
  const [file, ...more] = packed(".tgz").filter((file) => new RegExp(`/${name}-\\d`).test(file));
  assert.deepEqual([more, file !== undefined], [[], true], name);
  return file;
};

test("npm: a plugin's tests run with the SDK from its package, and its types are checked", async (t) => {
  const folder = await folderFor(t);
  await writeFile(join(folder, "package.json"), '{ "type": "module" }');
  await run("npm", ["install", "--no-audit", "--no-fund", one("bennu-sdk")], { cwd: folder });
  const sdk = join(folder, "node_modules/bennu-sdk");
  const [licence, readme] = await Promise.all(["LICENSE", "README.md"].map((file) => readFile(join(sdk, file), "utf8")));
  assert.equal(licence, await readFile(new URL("../../LICENSE", import.meta.url), "utf8"));
  for (const [file, text] of [["plugins/app.ts", chat], ["tests/app.test.ts", tests.replaceAll("{{name}}", "app")]]) {
    await mkdir(join(folder, file, ".."), { recursive: true });
    await writeFile(join(folder, file), text);
  }
  // The commands and the settings are those of its README.
  const [command] = /^node --import .*$/m.exec(readme);
  // Node's runner behaves differently in a test of its own.
  const { NODE_TEST_CONTEXT: _, ...env } = { ...process.env, BENNU: process.env.BENNU_BIN };
  assert.match((await run("sh", ["-c", command], { cwd: folder, env })).stdout, /# pass 2\n# fail 0/);
  await writeFile(join(folder, "tsconfig.json"), /^```json\n(.*?)^```/ms.exec(readme)[1]);
  await checkTypes(folder);
});

test("npm: the client for browsers is imported from its package", async (t) => {
  const folder = await folderFor(t);
  await writeFile(join(folder, "package.json"), '{ "type": "module" }');
  await run("npm", ["install", "--no-audit", "--no-fund", "--omit=peer", one("bennu-client")], { cwd: folder });
  const script = 'import * as all from "bennu-client"; console.log(Object.keys(all).sort().join(" "))';
  const { stdout } = await run(process.execPath, ["--input-type=module", "-e", script], { cwd: folder });
  assert.match(stdout, /RoomState/);
  assert.match(await readFile(join(folder, "node_modules/bennu-client/LICENSE"), "utf8"), /MIT/);
});

test("PyPI: the wheel has the executable and the tag of a platform", async (t) => {
  const folder = await folderFor(t);
  const [wheel, ...more] = packed(".whl").filter((file) => file.includes("bennu_server-"));
  assert.deepEqual(more, []);
  assert.doesNotMatch(wheel, /-any\.whl$|-linux_/);
  await run("python3", ["-m", "venv", join(folder, "env")]);
  await run(join(folder, "env/bin/pip"), ["install", "--no-index", "--disable-pip-version-check", wheel]);
  const bennu = join(folder, "env/bin/bennu");
  assert.match((await run(bennu, ["--version"])).stdout, /^bennu \d/);
  await chats(t, await serve(t, folder, bennu, []));
});

test("PyPI: uvx makes and serves a project with the wheel", async (t) => {
  const folder = await folderFor(t);
  const [wheel] = packed(".whl").filter((file) => file.includes("bennu_server-"));
  await run("python3", ["-m", "venv", join(folder, "uv")]);
  await run(join(folder, "uv/bin/pip"), ["install", "--disable-pip-version-check", "--quiet", "uv"]);
  const uvx = [join(folder, "uv/bin/uvx"), ["--from", wheel, "bennu"]];
  await run(uvx[0], [...uvx[1], "new", "app"], { cwd: folder });
  await developed(t, join(folder, "app"), uvx[0], [...uvx[1], "dev"]);
});

test("PyPI: the SDK is installed from its wheel, finds mistakes in a plugin, and has the contract", async (t) => {
  const folder = await folderFor(t);
  const [wheel, ...more] = packed(".whl").filter((file) => file.includes("bennu_sdk-"));
  assert.deepEqual(more, []);
  await run("python3", ["-m", "venv", join(folder, "env")]);
  const python = join(folder, "env/bin/python");
  await run(python, ["-m", "pip", "install", "--no-index", "--no-deps", "--disable-pip-version-check", wheel]);
  const contract = "import bennu, pathlib; print((pathlib.Path(bennu.__file__).parent / 'wit/world.wit').read_text())";
  assert.match((await run(python, ["-c", contract])).stdout, /world plugin \{/);
  await writeFile(join(folder, "bennu.toml"), 'load = ["build"]\n[build.chat]\nsource = "chat.py"\n');
  await writeFile(join(folder, "chat.py"), "import bennu\n");
  const env = { ...process.env, VIRTUAL_ENV: join(folder, "env") };
  const failed = await run(process.env.BENNU_BIN, ["build"], { cwd: folder, env }).catch((error) => error);
  assert.match(`${failed.stdout}${failed.stderr}`, /componentize-py isn't installed/);
});

test("the archive of a release has the executable, its licences, completions and units, and its checksum is right", async (t) => {
  const folder = await folderFor(t);
  const dist = process.env.BENNU_DIST;
  const [archive, ...more] = (await readdir(dist)).filter((file) => file.endsWith(".tar.gz"));
  assert.deepEqual(more, []);
  await run("sha256sum", ["--check", "--strict", "SHA256SUMS"], { cwd: dist });
  await run("tar", ["-xzf", join(dist, archive), "-C", folder]);
  const root = join(folder, archive.replace(".tar.gz", ""));
  const bennu = join(root, "bennu");
  assert.match((await run(bennu, ["--version"])).stdout, /^bennu \d/);
  const licences = await readFile(join(root, "THIRD-PARTY-LICENSES.txt"), "utf8");
  for (const name of ["wasmtime ", "tokio ", "redb ", "QuickJS: MIT"]) {
    assert.ok(licences.includes(`\n${name}`), name);
  }
  await run("bash", ["-n", join(root, "completions/bennu.bash")]);
  const complete = `source completions/bennu.bash; COMP_WORDS=(bennu store ba); COMP_CWORD=2; _bennu bennu ba store; echo "\${COMPREPLY[@]}"`;
  assert.equal((await run("bash", ["-c", complete], { cwd: root })).stdout.trim(), "backup");
  await chats(t, await serve(t, folder, bennu, []));
});

test("systemd believes the new process of an upgrade, which isn't the one that it has started", async () => {
  const unit = await readFile(new URL("../../deploy/systemd/bennu.service", import.meta.url), "utf8");
  const settings = unit.split("\n");
  for (const setting of ["Type=notify", "NotifyAccess=all"]) {
    assert.ok(settings.includes(setting), setting);
  }
});

test("the units of systemd are valid, and the host has few rights", async (t) => {
  const analyze = (...args) => run("systemd-analyze", args).catch((error) => error);
  if ((await analyze("--version")).code === "ENOENT") {
    t.skip("systemd-analyze isn't installed");
    return;
  }
  const folder = await folderFor(t);
  const units = new URL("../../deploy/systemd/", import.meta.url);
  const copied = [];
  for (const name of await readdir(units)) {
    // The executable isn't installed here.
    const text = (await readFile(new URL(name, units), "utf8")).replaceAll("/usr/bin/bennu", "/bin/true");
    await writeFile(join(folder, name), text);
    copied.push(join(folder, name));
  }
  const verified = await analyze("verify", ...copied);
  assert.equal(`${verified.stdout}${verified.stderr}`, "");
  const security = await analyze("security", "--offline=true", "--threshold=20", join(folder, "bennu.service"));
  assert.equal(security.code ?? 0, 0, security.stdout);
});

test("systemd believes the new process of an upgrade, which isn't the one that it has started", async () => {
  const unit = await readFile(new URL("../../deploy/systemd/bennu.service", import.meta.url), "utf8");
  const settings = unit.split("\n");
  for (const setting of ["Type=notify", "NotifyAccess=all"]) {
    assert.ok(settings.includes(setting), setting);
  }
});
