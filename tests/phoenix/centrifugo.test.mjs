// The code of docs/centrifugo.md, taken from the page: the plugins in a host, the clients with phoenix.js, and the backend.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createServer } from "node:http";
import { test } from "node:test";
import { promisify } from "node:util";

import { until } from "../host.mjs";
import { checkPlugins, readPage, run, section as sectionOf, signJwt } from "../pages.mjs";
import { connect, join } from "./client.mjs";

const page = await readPage("centrifugo.md");
const tested = new Set();
const SECRET = "bbe7d157-a253-4094-9759-06a8236543f9";
process.env.HMAC_SECRET_KEY = SECRET;
process.env.API_KEY = "d7627bb6-2292-4911-82e1-615c0ed3eebb";

/** A token of a user, as a backend makes it for Centrifugo. */
const signed = (user, claims) => signJwt(SECRET, { sub: user, ...claims });

/** The configuration of a section, without what `startHost` sets itself, and with the address of its backend. */
const configuration = (blocks, backend) =>
  blocks.get("bennu.toml")?.replace(/^(load|static) = .*$/gm, "").replaceAll("http://localhost:3000", backend?.url);

/**
 * Starts an empty backend. `app.get` adds an answer, as in Express: for paths that end in one parameter.
 */
async function startBackend(t) {
  const answers = [];
  const app = {
    get: (path, answer) => {
      const [start, name] = path.split(":");
      answers.push({ start, name, answer });
    },
  };
  const server = createServer((request, response) => {
    const found = answers.find(({ start }) => request.url.startsWith(start));
    if (!found) return response.writeHead(404).end();
    const params = { [found.name]: decodeURIComponent(request.url.slice(found.start.length)) };
    found.answer({ params }, { json: (value) => response.end(JSON.stringify(value)) });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => new Promise((resolve) => (server.close(resolve), server.closeAllConnections()));
  t.after(close);
  return { app, close, url: `http://localhost:${server.address().port}` };
}

/**
 * Tests a section of the page. `host` has its plugins and its configuration. If the section has code for the backend, `backend` runs while
 * the test does.
 */
function section(heading, body) {
  tested.add(heading);
  sectionOf(page, heading, async ({ t, blocks, start, client, ...rest }) => {
    const backend = blocks.has("your backend") ? await startBackend(t) : undefined;
    const host = await start(configuration(blocks, backend));
    await body({ t, backend, blocks, host, client: (names, wanted) => client(host, names, wanted), ...rest });
  });
}

/** Sends a message to a topic's code, as the page's backend does. */
const send = async (host, topic, event, payload = {}) => {
  const body = JSON.stringify({ topic, event, payload });
  const answer = await host.api("/api/send", { method: "POST", headers: { "content-type": "application/json" }, body });
  assert.equal(answer.status, 200);
  return (await answer.json()).reply;
};

test("the types of all plugins of the page are right", () => checkPlugins([...page.values()]));

section("Quick start", async ({ t, blocks, host }) => {
  // tests/browser/migration.test.mjs opens the page.
  const ada = await join(connect(t, host, { authToken: signed("ada") }), "counter");
  const command = blocks.get("publish").replace("http://127.0.0.1:4000", host.url);
  const { stdout } = await promisify(execFile)("sh", ["-c", command]);
  assert.deepEqual(JSON.parse(stdout), { accepted: 1, receivers: 1 });
  assert.deepEqual(await ada.next("publication"), { value: 2 });
  const refused = async () => {
    const answer = await fetch(`${host.url}/api/inspect`, { headers: { authorization: `Bearer ${process.env.API_KEY}` } });
    return (await answer.json()).refused.token_invalid;
  };
  for (const bad of [signed("ada", { exp: undefined }), signJwt(SECRET, { sub: "ada" }, "HS512"), "x"]) {
    const before = await refused();
    const socket = connect(t, host, { authToken: bad });
    await until("it is refused", async () => (await refused()) > before);
    socket.disconnect();
  }
});

section("Permissions and proxies", async ({ t, backend, blocks, host, client, shown, shows }) => {
  const people = new Set(["ada"]);
  const db = { members: async (project) => (project === "7" ? [...people] : []), remove: async (user) => people.delete(user) };
  const names = { app: backend.app, bennu: host.url, db, key: await host.apiKey() };
  const { remove } = await run(t, host, blocks.get("your backend"), names, ["remove"]);

  await client({ token: signed("bob") });
  await shows("permission denied");
  await client({ token: signed("ada") });
  for (const text of ["subscribed", "ada: hello", "ada"]) await shows(text);
  const ada = await join(connect(t, host, { authToken: signed("ada") }), "project:7");
  assert.deepEqual(await ada.push("publish", { text: " " }), { status: "error", response: { reason: "no text" } });

  shown.length = 0;
  await remove("ada", "7");
  await shows("removed");
  await assert.rejects(join(connect(t, host, { authToken: signed("ada") }), "project:7"), /permission denied/);
  await backend.close();
  await assert.rejects(join(connect(t, host, { authToken: signed("ada") }), "project:7"), /unavailable/);
});

section("History and recovery", async ({ host, client, shown, shows }) => {
  const publish = async (text) => {
    const body = JSON.stringify({ topic: "feed:news", event: "publication", payload: { text } });
    const answer = await host.api("/api/broadcast", { method: "POST", headers: { "content-type": "application/json" }, body });
    assert.equal(answer.status, 200);
  };
  await publish("zero");
  let reloads = 0;
  const { socket } = await client({ reload: () => (reloads += 1) }, ["socket"]);
  await until("it has joined", async () => (await (await host.api("/api/topics")).json()).topics.length > 0);
  await publish("one");
  await shows("one");
  const away = async (count) => {
    socket.disconnect();
    await until("it is away", async () => (await (await host.api("/api/topics")).json()).topics.length === 0);
    for (let at = 1; at <= count; at++) await publish(`${count}.${at}`);
    socket.connect();
  };
  await away(2);
  await shows("2.2");
  await publish("after");
  await shows("after");
  assert.deepEqual(shown, ["one", "2.1", "2.2", "after"]);
  await away(100);
  await shows("100.100");
  assert.deepEqual([shown.length, reloads], [104, 0]);
  await away(101);
  await until("it reloads", () => reloads === 1);
  await publish("last");
  await shows("last");
  assert.equal(shown.length, 105, "no part of a gap is sent");
});

section("The latest value", async ({ host, client, shows }) => {
  await send(host, "prices:eu", "set", { tea: 3, milk: 1 });
  await client();
  await shows('{"tea":3,"milk":1}');
  await send(host, "prices:eu", "set", { tea: 4 });
  await shows('{"tea":4,"milk":1}');
});

section("Presence and join messages", async ({ client, shown, shows }) => {
  await client({ user: "ada", name: "Ada" });
  await shows("ada came");
  const { socket } = await client({ user: "bob", name: "Bob" }, ["socket"]);
  await shows("bob came");
  socket.disconnect();
  await shows("bob left");
  assert.equal(shown.filter((text) => text === "bob left").length, 1);
});

section("Server-side subscriptions", async ({ t, host, client, shows }) => {
  const broadcast = (topic, text) => host.bennu("broadcast", "--key-file", "key.txt", topic, "publication", JSON.stringify({ text }));
  await host.write("key.txt", (await host.apiKey()) + "\n");
  await client({ token: signed("ada", { channels: ["news", "alerts:eu"] }), user: "ada" });
  await until("it has joined", async () => (await (await host.api("/api/topics")).json()).topics.length > 0);
  await broadcast("news", "hello");
  await broadcast("alerts:eu", "storm");
  await shows("news: hello");
  await shows("alerts:eu: storm");
  await assert.rejects(join(connect(t, host, { authToken: signed("bob") }), "inbox:ada"), /permission denied/);
});

test("every section of the page with code is tested", () => assert.deepEqual([...tested], [...page.keys()]));
