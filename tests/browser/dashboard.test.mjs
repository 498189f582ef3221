// The dashboard in a real browser: each page, what an operator does on it, and texts that would be scripts if they were markup.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Socket } from "phoenix";
import { WebSocket } from "ws";

import { freePort, until, within } from "../host.mjs";
import { answer, go, join, push, signIn, start } from "./dashboard.mjs";
import { desktop, openWindow, phone, picture } from "./window.mjs";

/** Text that runs a script, if anything takes it for markup. */
const EVIL = "<img src=x onerror=alert(1)>";

/** A channel whose members do what a test needs. */
const PLUGIN = (version) => `import { channel, plugin, store } from "bennu";

export default plugin({
  "room:*": channel({
    room: { version: "" },

    join({ user, key }: { user?: string; key?: string }, socket) {
      socket.track(key ?? user ?? "somebody", { since: "today", text: user ?? "" });
    },

    on: {
      which() {
        return { version: "${version}" };
      },
      crash({ text }: { text: string }) {
        throw new Error(text);
      },
      "${EVIL}"({ text }: { text: string }) {
        throw new Error(text);
      },
      save({ key, value }: { key: string; value: string }) {
        store.put(key, value);
        return {};
      },
      echo(payload: object, socket) {
        socket.broadcast("echoed", payload);
        return payload;
      },
    },
  }),
});
`;

/** A gatekeeper that gives each socket the id of its user. */
const GATE = `import { gatekeeper } from "bennu";

export default gatekeeper(({ params }) => ({ user: params.user, socketId: \`user_socket:\${params.user}\` }));
`;

/** Connects a client that joins a topic, and waits until it has joined. */
async function client(t, host, topic, params = {}) {
  const socket = new Socket(host.socketUrl, { transport: WebSocket, params });
  t.after(() => socket.disconnect());
  socket.connect();
  const channel = socket.channel(topic, params);
  await within("a join", new Promise((resolve, reject) => channel.join().receive("ok", resolve).receive("error", reject)));
  return channel;
}

const cells = (page, label) =>
  page.getByRole("region", { name: label }).locator("tbody tr").evaluateAll((rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent)));

/** Makes a page tell whether a script of a text has run. */
async function watchScripts(page) {
  let ran = 0;
  page.on("dialog", (dialog) => {
    ran += 1;
    dialog.dismiss();
  });
  return async () => ran + (await page.locator("img[src=x]").count());
}

test("a key opens the overview, whose charts move, and a wrong one is told", async (t) => {
  const { host, open } = await start(t, { scripts: { "chat.ts": PLUGIN("one") } });
  const page = await open();
  await picture(page, "dashboard-sign-in");
  await page.getByLabel("API key").fill("wrong");
  await page.keyboard.press("Enter");
  await page.getByText("this is not the key of this host's API").waitFor();
  page.troubles.length = 0; // The browser reports the status 401.
  await signIn(host, page);
  const chart = page.getByRole("img", { name: /^Sockets/ });
  await chart.waitFor();
  const one = await client(t, host, "room:one", { user: "ada" });
  await client(t, host, "room:one", { user: "bob" });
  await until("the chart shows the sockets", async () => /sockets 2/.test(await chart.getAttribute("aria-label")));
  one.push("echo", { a: 1 });
  await until("there is a line", async () => (await page.locator(".chart path.line").first().getAttribute("d"))?.includes("L"));
  assert.deepEqual(await cells(page, "Largest topics"), [["room:one", "2"]]);
  await page.getByText("ready", { exact: true }).waitFor();
  assert.equal(await page.getByRole("heading", { name: "Cluster" }).count(), 0, "there is no cluster");
  assert.equal(new URL(page.url()).search, "");
  assert.deepEqual(await page.evaluate(() => document.cookie), "", "a script can't read the session");
  assert.deepEqual(page.troubles, []);
});

/** What a node of a cluster says about it. The tests of real nodes have no browser. */
const CLUSTER = {
  is_good: false,
  lease: { length_ms: 10_000, renewed_ms_ago: 9_000, failure: `no answer ${EVIL}` },
  counts: { members_rejoined: 3, messages_dropped: 0 },
  nodes: [
    { name: `one${EVIL}`, epoch: 1, state: "own", is_draining: false, heard_ms_ago: null, losses: 0 },
    { name: "two", epoch: 2, state: "up", is_draining: true, heard_ms_ago: 61_000, losses: 2 },
    { name: "three", epoch: 3, state: "silent", is_draining: false, heard_ms_ago: 7_000, losses: 0 },
  ],
  clock_ahead_ms: -61_000,
  split_topics: 2,
  plugins: {
    chat: {
      serving: {
        generation: 2, digest: "", phase: "on-probation",
        probation: { instead: 1, calls: 12, calls_needed: 100, faults: 1, faults_tolerated: 3, length_ms: 60_000 },
      },
      rollout: { number: 3, digest: "", by: `one${EVIL}` },
      last_refusal: null,
      rejected: [],
      nodes: [
        { node: `one${EVIL}`, generation: 2, is_prepared: true, calls: 12, faults: 1, trouble: null },
        { node: "two", generation: null, is_prepared: false, calls: 0, faults: 0, trouble: `no memory ${EVIL}` },
      ],
    },
    gate: {
      serving: { generation: 1, digest: "", phase: null, probation: null },
      rollout: null,
      last_refusal: `the node two can't load it: no ${EVIL}`,
      rejected: [],
      nodes: [],
    },
  },
};

test("the overview shows the nodes of a cluster", async (t) => {
  const { host, open } = await start(t, { scripts: { "chat.ts": PLUGIN("one") } });
  const page = await open();
  const scripts = await watchScripts(page);
  const cluster = structuredClone(CLUSTER);
  await page.routeWebSocket(/\/dashboard\/socket/, (client) => {
    const server = client.connectToServer();
    server.onMessage((text) => {
      const frame = JSON.parse(text);
      const data = frame[4]?.data ?? frame[4]?.response?.data;
      if (data?.state) data.cluster = cluster;
      client.send(JSON.stringify(frame));
    });
  });
  await signIn(host, page);
  await page.getByRole("heading", { name: "Cluster" }).waitFor();
  assert.deepEqual(await cells(page, "Nodes of the cluster"), [
    [`one${EVIL}`, "this one", "–", "0"],
    ["two", "stopping", "1 min 1 s ago", "2"],
    ["three", "silent", "7 s ago", "0"],
  ]);
  await page.getByText("suspended", { exact: true }).waitFor();
  await page.getByText("Clock behind the database's").waitFor();
  await page.getByText("Sticky topics with members at several nodes").waitFor();
  assert.deepEqual(await cells(page, "Plugins of the cluster"), [
    ["chat", "generation 2, on probation: 12 of 100 calls, 1 of 3 tolerated faults", `3, begun at one${EVIL}: awaited from two`],
    ["gate", "generation 1", "–"],
  ]);
  await page.getByText(`chat isn't served at two: no memory ${EVIL}`).waitFor();
  await page.getByText(`The last rollout of gate was refused: the node two can't load it: no ${EVIL}`).waitFor();
  await page.getByText(`no answer ${EVIL}`).waitFor();
  await picture(page, "dashboard-cluster");
  Object.assign(cluster, { is_good: true, split_topics: 0 });
  cluster.lease.failure = null;
  cluster.nodes[2].state = "dead";
  cluster.plugins.chat.nodes[1] = { ...cluster.plugins.chat.nodes[1], is_prepared: true, trouble: null };
  await until("the lease is renewed", async () => (await page.getByText("renewed", { exact: true }).count()) === 1);
  await until("a node is dead", async () => (await cells(page, "Nodes of the cluster"))[2][1] === "dead");
  await until("all nodes are ready", async () => (await cells(page, "Plugins of the cluster"))[0][2].endsWith("ready at all nodes"));
  assert.equal(await page.getByText("chat isn't served at").count(), 0);
  assert.equal(await scripts(), 0);
  assert.deepEqual(page.troubles, []);
});

test("topics, members and presences are searched, and a member is kicked and disconnected", async (t) => {
  const { host, openSignedIn } = await start(t, { scripts: { "chat.ts": PLUGIN("one"), "gate.ts": GATE } });
  const page = await openSignedIn();
  const channels = [];
  for (let at = 0; at < 55; at += 1) channels.push(await client(t, host, `room:${String(at).padStart(2, "0")}`, { user: `u${at}` }));
  await go(page, "Topics");
  await until("a page of the list", async () => (await cells(page, "Topics")).length === 50);
  await page.getByRole("button", { name: "Next" }).click();
  await until("the next page", async () => (await cells(page, "Topics")).length === 5);
  await page.getByRole("button", { name: "Previous" }).click();
  await page.getByLabel("Search").fill("OM:54");
  await until("the search", async () => (await cells(page, "Topics")).length === 1);
  const closed = new Promise((resolve) => client(t, host, "room:54", { user: "gone" }).then((channel) => channel.onClose(resolve)));
  await page.getByRole("link", { name: "room:54" }).click();
  await page.getByRole("heading", { name: "2 members" }).waitFor();
  await page.getByRole("heading", { name: "2 present" }).waitFor();
  await page.getByLabel("Search").fill("gone");
  await until("the presence", async () => (await cells(page, "Presences")).length === 1);
  assert.equal((await cells(page, "Presences"))[0][0], "gone");
  await page.getByLabel("Search").fill("");
  await until("both members", async () => (await cells(page, "Members")).length === 2);
  await picture(page, "dashboard-topic");
  await page.getByRole("button", { name: "Kick" }).last().click();
  await page.getByRole("dialog").getByLabel("Reason").fill("spam");
  await answer(page, "Kick");
  await page.getByText("was kicked").waitFor();
  await within("the client's channel to close", closed);
  await page.getByRole("heading", { name: "1 member" }).waitFor();
  await until("the kick is in the log", () => /an operator's call.*api\.key.*\/api\/kick/.test(host.log));
  // The member that is left has a socket with an id. Its socket is closed, and not only its channel.
  const disconnected = new Promise((resolve) => channels[54].socket.onClose(resolve));
  await page.getByRole("button", { name: "Disconnect" }).click();
  await page.getByRole("dialog").getByText("Disconnect user_socket:u54?").waitFor();
  await answer(page, "Disconnect");
  await page.getByText("1 socket was closed.").waitFor();
  assert.equal((await within("the client's socket to close", disconnected)).code, 1001);
  await until("the call is in the log", () => /an operator's call.*api\.key.*\/api\/disconnect/.test(host.log));
  assert.deepEqual(page.troubles, []);
});

test("a plugin is reloaded, rolled back and unloaded, and its members stay", async (t) => {
  const { host, openSignedIn } = await start(t, { config: "[reload]\nprobation_ms = 0", scripts: { "chat.ts": PLUGIN("one") } });
  const channel = await client(t, host, "room:one", { user: "ada" });
  const version = () => within("an answer", new Promise((resolve) => channel.push("which", {}).receive("ok", resolve))).then((reply) => reply.version);
  assert.equal(await version(), "one");
  const page = await openSignedIn();
  await go(page, "Plugins");
  const card = page.getByRole("region", { name: "chat" });
  await card.getByText("generation 1", { exact: true }).waitFor();
  await host.write("chat.ts", PLUGIN("two"));
  await card.getByText("generation 2", { exact: true }).waitFor();
  assert.equal(await version(), "two");
  await card.getByRole("button", { name: "Roll back" }).click();
  await answer(page, "Cancel");
  assert.equal(await version(), "two");
  await card.getByRole("button", { name: "Roll back" }).click();
  await answer(page, "Roll back");
  await page.getByText("chat was rolled back.").waitFor();
  await card.getByText("rolled back", { exact: true }).waitFor();
  assert.equal(await version(), "one");
  await picture(page, "dashboard-plugins");
  await card.getByRole("button", { name: "Reload" }).click();
  await answer(page, "Reload");
  await card.getByText("generation 3", { exact: true }).waitFor();
  assert.equal(await version(), "two");
  await host.write("chat.ts", "this is no plugin");
  await card.getByText(/The last load was refused/).waitFor();
  await card.getByRole("button", { name: "Unload" }).click();
  await answer(page, "Unload");
  await card.getByText("not served", { exact: true }).waitFor();
  await card.getByRole("button", { name: "Roll back" }).click();
  await answer(page, "Roll back");
  await page.getByText("there is no generation before the one that serves").waitFor();
  page.troubles.length = 0; // The browser reports the status 409.
});

test("a fault is shown with its stack", async (t) => {
  const { host, openSignedIn } = await start(t, { scripts: { "chat.ts": PLUGIN("one") } });
  const page = await openSignedIn();
  await go(page, "Faults");
  await page.getByText("No fault since the start.").waitFor();
  for (let at = 0; at < 2; at += 1) (await client(t, host, `room:${at}`, { user: "ada" })).push("crash", { text: "no tea" });
  const fault = page.locator("details.fault");
  await fault.getByText("chat: handle_in “crash”").waitFor();
  await fault.getByText("2×").waitFor();
  await fault.locator("summary").click();
  await fault.locator("pre").getByText(/no tea/).waitFor();
  assert.match(await fault.locator("pre").textContent(), /\n    in crash \(chat\.ts:16:\d+\)/);
  await picture(page, "dashboard-faults");
  await page.getByRole("link", { name: /^Faults 2/ }).waitFor();
  await page.getByLabel("Search").fill("coffee");
  await page.getByText("No fault has this text.").waitFor();
  assert.deepEqual(page.troubles, []);
});

test("the playground joins as a user, pushes events and shows frames", async (t) => {
  const { host, openSignedIn } = await start(t, { scripts: { "chat.ts": PLUGIN("one") } });
  const page = await openSignedIn();
  await go(page, "Playground");
  await page.getByLabel("Params of the join").fill("[]");
  await page.getByLabel("Topic").fill("room:one");
  await page.getByRole("button", { name: "Join", exact: true }).click();
  await page.getByText("The params must be a JSON object.").waitFor();
  await join(page, "room:one", { user: "ada", params: { user: "ada" } });
  const other = await client(t, host, "room:one", { user: "bob" });
  const heard = new Promise((resolve) => other.on("echoed", resolve));
  await push(page, "echo", { tea: "green" });
  assert.deepEqual(await within("the broadcast", heard), { tea: "green" });
  const frames = page.getByRole("list", { name: "Frames" });
  await frames.getByText("echoed", { exact: true }).waitFor();
  const events = await frames.locator("li strong").allTextContents();
  assert.ok(events.includes("phx_join") && events.includes("echo") && events.includes("phx_reply"), events.join(" "));
  await picture(page, "dashboard-playground");
  await until("the log says so", () => /an operator's playground connects.*user="?ada/.test(host.log));
  await page.getByRole("button", { name: "Leave" }).click();
  await page.getByText("left", { exact: true }).waitFor();
  await page.getByLabel("Topic").fill("nowhere:1");
  await page.getByRole("button", { name: "Join", exact: true }).click();
  await page.getByText(/The join is refused: .*unmatched topic/).waitFor();
  assert.deepEqual(page.troubles, []);
});

test("the store is read: how much there is, rows by a prefix, and one key", async (t) => {
  const { host, openSignedIn } = await start(t, { scripts: { "chat.ts": PLUGIN("one") } });
  const channel = await client(t, host, "room:one", { user: "ada" });
  const save = (key) => within("an answer", new Promise((resolve) => channel.push("save", { key, value: `the value of ${key}` }).receive("ok", resolve)));
  for (let at = 0; at < 60; at += 1) await save(`tea:${String(at).padStart(2, "0")}`);
  await save("coffee");
  const page = await openSignedIn();
  await go(page, "Store");
  await page.getByRole("button", { name: "chat" }).click();
  await page.getByText("50 rows, and there are more").waitFor();
  await page.getByRole("button", { name: "More rows" }).click();
  await page.getByText("61 rows", { exact: true }).waitFor();
  await page.getByLabel("Key or prefix").fill("coffee");
  await page.getByRole("button", { name: "Get" }).click();
  await page.getByText("1 row", { exact: true }).waitFor();
  await page.locator("td details").click();
  await page.locator("td pre").getByText(/the value of coffee/).waitFor();
  await picture(page, "dashboard-store");
  await page.getByLabel("Key or prefix").fill("water");
  await page.getByRole("button", { name: "Scan" }).click();
  await page.getByText("No row begins so.").waitFor();
  assert.deepEqual(page.troubles, []);
});

test("no text from clients and plugins becomes a script", async (t) => {
  const { host, openSignedIn } = await start(t, { scripts: { "chat.ts": PLUGIN(EVIL) } });
  const [player, page] = [await openSignedIn(), await openSignedIn()];
  const scripts = [await watchScripts(player), await watchScripts(page)];
  const none = async (where) => {
    for (const ran of scripts) assert.equal(await ran(), 0, where);
  };
  await go(player, "Playground");
  await join(player, `room:${EVIL}`, { user: EVIL, params: { user: EVIL, key: EVIL } });
  await push(player, "save", { key: EVIL, value: EVIL });
  await push(player, "echo", { [EVIL]: EVIL });
  await player.getByRole("list", { name: "Frames" }).getByText("echoed", { exact: true }).waitFor();
  await push(player, EVIL, { text: EVIL });
  await player.getByText("crashed; joins again", { exact: true }).waitFor();
  await player.getByText("joined", { exact: true }).waitFor();
  await none("the playground");

  for (const name of ["Overview", "Topics", "Rooms", "Faults", "Plugins"]) {
    await go(page, name);
    const shown = { Plugins: "chat.ts", Faults: `handle_in “${EVIL}”` }[name] ?? `room:${EVIL}`;
    await page.getByRole("main").getByText(shown).first().waitFor();
    await none(name);
  }
  await go(page, "Faults");
  await page.locator("details.fault summary").click();
  await page.locator("details.fault pre").getByText(EVIL).waitFor();
  await page.locator("details.fault").getByText(`user ${EVIL}`).waitFor();
  await go(page, "Store");
  await page.getByRole("button", { name: "chat" }).click();
  await page.getByRole("cell", { name: EVIL }).first().waitFor();
  await none("the store");
  await go(page, "Topics");
  await page.getByRole("link", { name: `room:${EVIL}` }).click();
  await until("the user and the key are shown", async () => {
    const [members, present] = [await cells(page, "Members"), await cells(page, "Presences")];
    return members[0]?.[1] === EVIL && present[0]?.[0] === EVIL;
  });
  await picture(page, "dashboard-evil");
  await page.getByRole("button", { name: "Kick" }).click();
  await page.getByRole("dialog").getByText(EVIL).first().waitFor();
  await none("a question");
  await answer(page, "Kick");
  await page.getByText(`${EVIL} was kicked.`).waitFor();
  await none("a message");
  assert.deepEqual([...player.troubles, ...page.troubles], []);
});

test("everything can be done with the keyboard", async (t) => {
  const { host, open } = await start(t, { scripts: { "chat.ts": PLUGIN("one") } });
  const page = await open();
  await page.getByLabel("API key").waitFor();
  await page.keyboard.type(await host.apiKey());
  await page.keyboard.press("Enter");
  await page.getByText("Live", { exact: true }).waitFor();
  const press = async (name, key = "Enter") => {
    for (let at = 0; at < 60; at += 1) {
      await page.keyboard.press("Tab");
      const focused = await page.evaluate(() => document.activeElement?.textContent ?? "");
      if (focused === name) return page.keyboard.press(key);
    }
    throw new Error(`the focus doesn't reach ${name}`);
  };
  await press("Plugins");
  await page.getByRole("heading", { level: 1, name: "Plugins" }).waitFor();
  await page.getByRole("button", { name: "Reload" }).waitFor();
  await press("Reload");
  await page.getByRole("dialog").waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Cancel", "the careful answer has the focus");
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Reload", "the focus is back");
  await page.keyboard.press("Enter");
  await press("Reload");
  await page.getByText("generation 2", { exact: true }).waitFor();
  await page.keyboard.press("Shift+Tab");
  await press("Sign out");
  await page.getByLabel("API key").waitFor();
  assert.deepEqual(page.troubles, []);
});

test("a key that only reads shows nothing that it can't do", async (t) => {
  const { host, url, open } = await start(t, { scripts: { "chat.ts": PLUGIN("one") } });
  const printed = await host.bennu("key", "new", "reads", "--scope", "read");
  const [key, table] = printed.split("\n\n");
  await host.write("bennu.toml", `[api]\nlisten = "127.0.0.1:0"\n${table}\n`);
  const api = (path, options) => host.apiKey().then((own) => fetch(url + path, { ...options, headers: { authorization: `Bearer ${own}`, "content-type": "application/json" } }));
  assert.equal((await api("/api/config/reload", { method: "POST", body: "{}" })).status, 200);
  const page = await signIn(host, await open(), key);
  await client(t, host, "room:one", { user: "ada" });
  assert.equal(await page.getByRole("link", { name: "Playground" }).count(), 0);
  await go(page, "Plugins");
  await page.getByText("generation 1", { exact: true }).waitFor();
  assert.equal(await page.getByRole("button", { name: "Reload" }).count(), 0);
  await go(page, "Topics");
  await page.getByRole("link", { name: "room:one" }).click();
  await page.getByRole("heading", { name: "1 member" }).waitFor();
  assert.equal(await page.getByRole("button", { name: "Kick" }).count(), 0);
  await go(page, "Store");
  assert.equal(await page.getByRole("button", { name: "Scan" }).count(), 0);

  // The session ends when its key is removed.
  await host.write("bennu.toml", `[api]\nlisten = "127.0.0.1:0"\n`);
  assert.equal((await api("/api/config/reload", { method: "POST", body: "{}" })).status, 200);
  await page.getByText("The session has ended. Sign in again.").waitFor();
  await picture(page, "dashboard-ended");
});

test("a page connects again by itself, and shows that it has no connection", async (t) => {
  const port = await freePort();
  const { host, url, openSignedIn } = await start(t, { scripts: { "chat.ts": PLUGIN("one") }, port });
  const page = await openSignedIn();
  await page.getByRole("img", { name: /^Sockets/ }).waitFor();
  await host.stop();
  await page.getByText("The host doesn't answer.").waitFor();
  await page.getByText("Reconnecting", { exact: true }).waitFor();
  await picture(page, "dashboard-lost");
  await host.start();
  // Sessions aren't kept over a restart.
  await page.getByText("The session has ended. Sign in again.").waitFor();
  await signIn(host, page);
  assert.ok(url.endsWith(String(port)));
});

test("it looks right in light and dark, and on a phone", async (t) => {
  const { host, openSignedIn } = await start(t, { plugins: ["chat", "board"], scripts: { "tea.ts": PLUGIN("one").replace("room:*", "tea:*") } });
  for (const [at, name] of ["lobby", "kitchen", "garden"].entries()) {
    for (let user = 0; user <= at; user += 1) await client(t, host, `tea:${name}`, { user: `user ${user}` });
  }
  (await client(t, host, "tea:lobby", { user: "ada" })).push("crash", { text: "no tea" });
  const busy = await client(t, host, "tea:garden", { user: "bob" });
  const talk = setInterval(() => busy.push("echo", { text: "x".repeat(Math.random() * 4000) }), 40);
  t.after(() => clearInterval(talk));
  for (const [colour, options] of [["light", desktop], ["dark", desktop], ["phone", phone]]) {
    const page = await openSignedIn({ ...options, colorScheme: colour === "dark" ? "dark" : "light" });
    await until("the charts have some points", async () => ((await page.locator(".chart path.line").first().getAttribute("d")) ?? "").split("L").length > 8);
    for (const name of ["Overview", "Topics", "Rooms", "Plugins", "Faults", "Store", "Playground"]) {
      await go(page, name);
      if (name === "Topics") await page.getByRole("link", { name: "tea:garden" }).waitFor();
      if (name === "Plugins") await page.getByRole("region", { name: "tea" }).waitFor();
      if (name === "Rooms") await page.getByRole("link", { name: "tea:garden" }).waitFor();
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `${name} is ${wide} pixels too wide (${colour})`);
      await picture(page, `dashboard-${name.toLowerCase()}-${colour}`);
    }
    assert.deepEqual(page.troubles, []);
    await page.context().close();
  }
});

test("a page of another origin on the same machine can't use a session", async (t) => {
  const { host, url, browser, openSignedIn } = await start(t, { scripts: { "chat.ts": PLUGIN("one") }, page: "chat" });
  const page = await openSignedIn();
  const foreign = await page.context().newPage();
  await foreign.goto(host.url);
  const outcome = await foreign.evaluate(async (api) => {
    const read = await fetch(`${api}/api/plugins`, { credentials: "include" }).then(({ status }) => status, () => "blocked");
    const post = { method: "POST", mode: "no-cors", credentials: "include", body: '{"id":"a"}' };
    await fetch(`${api}/api/disconnect`, post).catch(() => {});
    const socket = new WebSocket(`${api.replace("http", "ws")}/dashboard/socket/websocket?vsn=2.0.0`);
    const opened = await new Promise((resolve) => {
      socket.onopen = () => resolve("opened");
      socket.onerror = () => resolve("refused");
    });
    return { read, opened };
  }, url);
  assert.deepEqual(outcome, { read: "blocked", opened: "refused" });
  assert.doesNotMatch(host.log, /an operator's call/);
  await foreign.close();
  const framed = await openWindow(browser, host.url);
  await framed.evaluate((api) => document.body.append(Object.assign(document.createElement("iframe"), { src: `${api}/dashboard/` })), url);
  await until("the frame is refused", () => framed.troubles.some((text) => /frame/i.test(text)));
});
