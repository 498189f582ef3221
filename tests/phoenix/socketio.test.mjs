// The code of docs/socketio.md, taken from the page: the plugins in a host, and the clients with phoenix.js.

import assert from "node:assert/strict";
import { test } from "node:test";

import { startHost, until } from "../host.mjs";
import { checkPlugins, readPage, run, scripts, section as sectionOf, signJwt } from "../pages.mjs";
import { connect, join } from "./client.mjs";

const page = await readPage("socketio.md");
const tested = new Set();
const SECRET = "a secret of at least thirty-two bytes";

/** Tests a section of the page. */
function section(heading, body) {
  tested.add(heading);
  sectionOf(page, heading, body);
}

/** The configuration of the page's section about tokens. */
const tokens = page.get("Middleware and authentication").get("bennu.toml");

/** Starts a host whose clients need a token. */
async function withTokens(start) {
  process.env.JWT_SECRET = SECRET;
  return start(tokens.replace('load = ["plugins"]', ""));
}

/** A token of a user, as a web application makes it. */
const signed = (user, claims) => signJwt(SECRET, { sub: user, ...claims });

test("the types of all plugins of the page are right", () => checkPlugins([...page.values()]));

section("A chat", async ({ t, start }) => {
  // tests/browser/migration.test.mjs opens the page.
  const host = await start();
  const [ada, bob] = [await join(connect(t, host), "room:lobby"), await join(connect(t, host), "room:lobby")];
  assert.deepEqual(await ada.push("chat message", { text: "hi" }), { status: "ok", response: {} });
  for (const one of [ada, bob]) assert.deepEqual(await one.next("chat message"), { text: "hi" });
  for (const text of ["", 7, undefined]) {
    const answer = await ada.push("chat message", { text });
    assert.deepEqual(answer, { status: "error", response: { reason: "text: expected a string" } });
  }
});

section("Events and acknowledgements", async ({ t, start, client, shown, shows }) => {
  const host = await start();
  const { orders } = await client(host, {}, ["orders"]);
  await shows("ok 1");
  assert.deepEqual(shown, ["created 1", "ok 1"]);

  const other = await join(connect(t, host), "orders:bob");
  const reason = "amount: expected a positive number";
  assert.deepEqual(await other.push("create", { amount: -1 }), { status: "error", response: { reason } });
  assert.deepEqual(await other.push("create", { amount: 1 }), { status: "ok", response: { number: 1, amount: 1 } });
  assert.equal((await other.push("cancel")).status, "error", "an unknown event gets an error reply");
  assert.equal(orders.state, "joined");
});

section("Middleware and authentication", async ({ start, client, shows, shown }) => {
  const host = await withTokens(start);
  await client(host, { token: signed("ada", { staff: true }) });
  await shows("ada");
  await client(host, { token: `${signed("bob")}x` });
  await until("the host counts a refused client", async () => {
    const { refused } = await (await host.api("/api/inspect")).json();
    return refused.token_invalid > 0;
  });
  assert.deepEqual(shown, ["ada"]);
});

section("Rooms and namespaces", async ({ t, start, client, shown, shows }) => {
  const host = await withTokens(start);
  const sockets = Object.fromEntries(["ada", "bob"].map((user) => [user, connect(t, host, { authToken: signed(user) })]));
  const ada = await join(sockets.ada, "project:7");
  await client(host, { token: signed("bob"), user: "bob" });
  await shows("you aren't a member of this project");
  await assert.rejects(join(sockets.bob, "user:ada"), /that is another user/);

  assert.equal((await ada.push("invite", { user: "bob" })).status, "ok");
  await shows("invited to project:7");
  await shows("joined"); // phoenix.js tries again after a refused join.
  await ada.push("rename", { name: "Heron" });
  await shows("ada: Heron");
  assert.ok(!ada.untaken.includes("renamed"), "the sender doesn't get its own event");
  assert.equal(shown.at(-1), "ada: Heron");
});

section("State of all members", async ({ t, start, client, shows }) => {
  const host = await start();
  await client(host);
  await shows('{"tea":1}');
  const other = await join(connect(t, host), "poll:1");
  assert.deepEqual((await other.next("room_state")).state, { votes: { tea: 1 }, open: true });
  await other.push("vote", { choice: "tea" });
  await shows('{"tea":2}');
  await host.stop();
  await host.start();
  await shows('{"tea":2}');
  assert.deepEqual(await other.push("vote", { choice: "tea" }), { status: "ok", response: {} });
  await shows('{"tea":3}');
});

section("Disconnecting and presence", async ({ start, client, shows }) => {
  const host = await start();
  await client(host, { user: "ada" });
  await shows("ada");
  const { socket } = await client(host, { user: "bob" }, ["socket"]);
  await shows("ada, bob");
  socket.disconnect();
  await shows("bob left: closed");
});

section("Catching up", async ({ t, start, client, shown, shows }) => {
  const host = await start();
  let reloads = 0;
  const { socket } = await client(host, { reload: () => (reloads += 1) }, ["socket"]);
  const other = await join(connect(t, host), "news:1");
  const say = (text) => other.push("say", { text });
  // What is said before the join is complete isn't shown. The last text is, and when it is, no other one is on its way.
  let said = 0;
  await until("the client has joined", async () => {
    await say(`one ${++said}`);
    return shown.length > 0;
  });
  await shows(`one ${said}`);
  const before = shown.length;
  socket.disconnect();
  for (const text of ["two", "three"]) await say(text);
  socket.connect();
  await shows("three");
  await say("four");
  await shows("four");
  assert.deepEqual(shown.slice(before), ["two", "three", "four"]);
  socket.disconnect();
  for (let at = 0; at < 201; at++) await say(`${at}`);
  socket.connect();
  await until("it reloads", () => reloads === 1);
});

section("Messages that are stored", async ({ t, start, client, shown, shows }) => {
  const host = await start();
  const { say, socket } = await client(host, {}, ["say", "socket"]);
  say("one");
  await shows("one");
  // The client is away. On its return it gets what it missed, once.
  socket.disconnect();
  const other = await join(connect(t, host), "talk:1");
  for (const text of ["two", "three"]) await other.push("say", { text, key: text });
  assert.deepEqual(await other.push("say", { text: "two", key: "two" }), { status: "ok", response: {} });
  await host.stop();
  await host.start();
  socket.connect();
  await shows("three");
  await other.push("say", { text: "four", key: "four" });
  await shows("four");
  assert.deepEqual(shown, ["one", "two", "three", "four"]);
});

section("From other programs", async ({ t, blocks }) => {
  const host = await withTokens((config) => startHost(t, { scripts: scripts(page.get("Rooms and namespaces")), config }));
  const ada = await join(connect(t, host, { authToken: signed("ada") }), "user:ada");
  const names = { bennu: host.url, key: await host.apiKey(), user: "ada" };
  const { answer } = await run(t, host, blocks.get("your web application"), names, ["answer"]);
  assert.deepEqual([answer.status, await answer.json()], [200, { accepted: 1, receivers: 1 }]);
  assert.deepEqual(await ada.next("ordered"), { id: 7 });
});

section("Testing", async ({ t, blocks }) => {
  const host = await startHost(t, { scripts: scripts(page.get("Events and acknowledgements")) });
  await host.write("orders.script", blocks.get("orders.script"));
  assert.match(await host.bennu("test", "orders.ts", "orders.script"), /^ok +orders.script$/);
  await host.write("orders.script", blocks.get("orders.script").replace('"amount": 0', '"amount": 1'));
  await assert.rejects(host.bennu("test", "orders.ts", "orders.script"), /line 8/);
});

test("every section of the page with code is tested", () => assert.deepEqual([...tested], [...page.keys()]));
