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

/** A channel with what the SDK has most: state, a room, the store, presence, timers. */
const SHOP = `from dataclasses import dataclass, field

from bennu import Socket, channel, info, on, refuse, store


@dataclass
class Room:
    orders: list[str] = field(default_factory=list)


@channel("shop:*", room=Room)
class Shop:
    user: str = ""
    bought: int = 0

    def join(self, socket: Socket[Room], user: str):
        if store.get(f"banned:{user}", False):
            refuse("banned")
        self.user = user
        visits = store.get(f"visits:{user}", 0) + 1
        store.put(f"visits:{user}", visits)
        socket.push_presences()
        socket.track(user, visits=visits)
        return {"visits": visits}

    @on("buy")
    def buy(self, socket: Socket[Room], what: str, amount: int = 1):
        self.bought += amount
        socket.room.orders.append(what)
        socket.broadcast("bought", user=self.user, what=what, orders=socket.room.orders)
        return {"bought": self.bought}

    @on("remind")
    def remind(self, socket: Socket[Room], ms: int):
        socket.send_after(ms, "reminder", what="tea")

    @info("reminder")
    def reminder(self, socket: Socket[Room], what: str):
        socket.push("reminder", what=what)
`;

/** The line of the source with this text, counted from 1. */
const lineOf = (source, text) => source.split("\n").findIndex((line) => line.includes(text)) + 1;

test("a project in Python: new, build, tests, the official client, an edit, an exception, a rollback", async (t) => {
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

  await project.edit(() => SHOP);
  await project.bennu("build");
  const host = await project.serve(t);
  const ada = await join(connect(t, host), "shop:1", { user: "ada" });
  const bo = await join(connect(t, host), "shop:1", { user: "bo" });

  await t.test("the official client joins, is refused, and gets replies, broadcasts, presences, timers", async () => {
    await assert.rejects(join(connect(t, host), "shop:1"), /user: missing, expected a string/);
    assert.deepEqual(Object.keys(await bo.next("presence_state")), ["ada"]);
    assert.deepEqual(await ada.push("buy", { what: "tea", amount: 2 }), { status: "ok", response: { bought: 2 } });
    assert.deepEqual(await bo.next("bought"), { user: "ada", what: "tea", orders: ["tea"] });
    assert.deepEqual(await bo.push("buy", { what: "milk" }), { status: "ok", response: { bought: 1 } });
    assert.deepEqual((await bo.next("bought")).orders, ["tea", "milk"], "all members share the room");
    const refused = { status: "error", response: { reason: "amount: expected a whole number" } };
    assert.deepEqual(await ada.push("buy", { what: "tea", amount: "2" }), refused);
    ada.send("remind", { ms: 20 });
    assert.deepEqual(await ada.next("reminder"), { what: "tea" });
    const again = await join(connect(t, host), "shop:2", { user: "ada" });
    assert.equal((await again.next("presence_state")).ada, undefined);
    assert.equal((await again.next("presence_diff")).joins.ada.metas[0].visits, 2, "the store has the first visit");
  });

  const buys = async () => (await ada.push("buy", { what: "tea" })).response;
  await t.test("an edited source answers with the old state, and nobody joins again", async () => {
    await project.edit((text) => text.replace("bought: int = 0", 'bought: int = 0\n    card: str = "none"').replace('{"bought": self.bought}', '{"bought": self.bought, "card": self.card}'));
    await project.bennu("build");
    await until("the new code answers", async () => (await buys()).card === "none");
    assert.ok((await buys()).bought > 3, "the state was kept");
    assert.equal(ada.joins, 1);
  });

  await t.test("an exception's file and line are in the log, and the build before answers", async () => {
    await project.edit((text) => text.replace("self.bought += amount", 'self.bought += {"tea": amount}["coffee"]'));
    const line = lineOf(await project.read(project.source), '["coffee"]');
    await project.bennu("build");
    await until("the fault is in the log", async () => {
      // The build that answers is the last one that has passed probation.
      assert.equal(typeof (await buys()).bought, "number");
      return host.log.includes(`KeyError: 'coffee'; in Shop.buy (src/channels.py:${line})`);
    });
    assert.equal(ada.joins, 1);
  });

  await t.test("an operator rolls back", async () => {
    await project.edit((text) => text.replace('self.bought += {"tea": amount}["coffee"]', "self.bought += 100 * amount"));
    await project.bennu("build");
    let last = (await buys()).bought;
    await until("the new code answers", async () => {
      const before = last;
      last = (await buys()).bought;
      return last === before + 100;
    });
    await host.bennu("plugins", "rollback", "app");
    await until("the old code answers", async () => {
      const before = last;
      last = (await buys()).bought;
      return last === before + 1;
    });
    assert.equal(ada.joins, 1);
  });
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
