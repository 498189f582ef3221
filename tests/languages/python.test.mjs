// A project in Python, as a person makes it who has only the executable, Python and PyPI.

import assert from "node:assert/strict";
import { once } from "node:events";
import { cp, mkdir, readdir, writeFile } from "node:fs/promises";
import { join as path } from "node:path";
import { test } from "node:test";

import { WebSocket } from "ws";

import { until } from "../host.mjs";
import { connect, join } from "../phoenix/client.mjs";
import { newProject } from "../project.mjs";
import { LANGUAGES, live } from "../project_life.mjs";

test("a project in Python is made, built, tested and served, and its code changes under the official client", async (t) => {
  const project = await newProject(t, { lang: "python" });
  const [, install] = /\n {2}cd app\n {2}(.+)\n {2}bennu dev\n$/.exec(project.printed) ?? assert.fail(project.printed);

  await t.test("without its compiler, a build says how to install it", async () => {
    const failed = await project.bennu("build").catch((error) => error);
    assert.match(`${failed.stdout}${failed.stderr}`, /componentize-py isn't installed.*python3 -m venv \.venv && \.venv\/bin\/pip install componentize-py==\d/s);
  });

  await t.test("the template is built, and passes its own tests", async () => {
    await project.shell(install);
    assert.match(await project.bennu("build"), /^build\/app\.wasm {2}.* MB {2}room:\* {2}in .* s\n$/);
    assert.match(await project.bennu("check", "build/app.wasm"), /made with Python 3\.\d+, bennu for Python 0\.\d+\.\d+, .*componentize-py 0/);
    assert.match(await project.bennu("test", "--no-build"), /ok {6}\S*python\S* .*\nok {6}tests\/app\.script\n2 passed/);
  });

  await t.test("it is served, and its code changes under the official client", () => live(t, project, LANGUAGES.python));
});

const repository = path(import.meta.dirname, "../..");
const scripts = path(repository, "tests/scripts");

test("the compiled plugin `naughty` in Python plays every script", async (t) => {
  const project = await newProject(t, { lang: "python" });
  await project.shell("python3 -m venv .venv && .venv/bin/pip install -r requirements.txt");
  const wanted = (await readdir(scripts)).filter((name) => name.endsWith(".script"));
  for (const name of [...wanted, "secret.txt"]) await cp(path(scripts, name), path(project.folder, name));
  await cp(path(repository, "tests/kit/python"), path(project.folder, "src"), { recursive: true });
  await mkdir(path(project.folder, "variants"));
  const tables = '\nload = ["build"]\n[build.naughty]\nlang = "python"\nsource = "src/naughty.py"\n[build.naughty-entries]\nlang = "python"\nsource = "src/second.py"\n';
  await cp(path(scripts, "bennu.toml"), path(project.folder, "scripts.toml"));
  await writeFile(path(project.folder, "bennu.toml"), tables);
  await project.bennu("build");
  await cp(path(project.folder, "build/naughty.wasm"), path(project.folder, "naughty.wasm"));
  await cp(path(project.folder, "build/naughty-entries.wasm"), path(project.folder, "variants/naughty-entries.wasm"));
  const played = [];
  for (const name of wanted) {
    if (!(await project.read(name)).includes("-- skips python-compiled: ")) played.push(name);
  }
  const printed = await project.bennu("test", "--config", "scripts.toml", "--log", "off", "naughty.wasm", ...played);
  assert.equal(printed, played.map((name) => `ok      ${name}\n`).join(""));
});

const GATE = `from bennu import ConnectRequest, Identity, forbid, gatekeeper, token


@gatekeeper
def connect(request: ConnectRequest) -> Identity:
    given = request.params.get("token") or forbid(401, "a token is missing")
    if given == "crash":
        raise RuntimeError("it crashed")
    user = token.verify("user socket", given)
    return Identity(user=user, socket_id=f"user_socket:{user}", claims={"mount": request.mount, "ip": request.peer.ip})
`;

const WHO = `from bennu import Socket, channel, on


@channel("who")
class Who:
    @on("me")
    def me(self, socket: Socket):
        return {"user": socket.user, "id": socket.socket_id, "claims": socket.claims}
`;

test("a gatekeeper in Python decides about connections", async (t) => {
  const project = await newProject(t, { lang: "python" });
  await project.shell("python3 -m venv .venv && .venv/bin/pip install -r requirements.txt");
  const files = { "src/gate.py": GATE, "src/channels.py": WHO, "secret.txt": "a".repeat(64) };
  const table = (name, source) => `[build.${name}]\nlang = "python"\nsource = "src/${source}.py"\n`;
  files["bennu.toml"] = `load = ["build"]\nsecret_key_base = { file = "secret.txt" }\n${table("app", "channels")}${table("gate", "gate")}`;
  for (const [file, text] of Object.entries(files)) await writeFile(path(project.folder, file), text);
  assert.match(await project.bennu("build"), /build\/gate\.wasm/);
  const host = await project.serve(t);
  const token = (await project.bennu("token", "sign", "--secret-file", "secret.txt", "--salt", "user socket", "ada")).trim();
  const ada = await join(connect(t, host, { params: { token } }), "who");
  const claims = { mount: "/socket", ip: "127.0.0.1" };
  assert.deepEqual((await ada.push("me")).response, { user: "ada", id: "user_socket:ada", claims });
  for (const [given, status] of [["", 401], ["wrong", 403], ["crash", 500]]) {
    const refused = new WebSocket(`${host.socketUrl}/websocket?vsn=2.0.0&token=${given}`);
    const [error] = await once(refused, "error");
    assert.match(error.message, new RegExp(`${status}$`));
  }
  await until("the fault is in the log", () => /RuntimeError: it crashed; in connect \(src\/gate\.py:8\)/.test(host.log));
});
