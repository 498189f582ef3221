// The hooks of `client/` in React, in a real browser: with StrictMode, rendered on a server first, from the npm package.

import assert from "node:assert/strict";
import { readFile, rm } from "node:fs/promises";
import { after, before, test } from "node:test";

import { plugin, startHost, until } from "../host.mjs";
import { checkTypes } from "../types.mjs";
import { bundle, packed, project } from "./react.mjs";
import { openWindow, picture, startBrowser } from "./window.mjs";

let folder;
let page;

before(async () => {
  folder = await project();
  page = await bundle(folder);
});

after(() => rm(folder, { recursive: true }));

/** Starts a host with the page. `open` opens it in a window, and records the joins and leaves that the window sends. */
async function start(t, { query } = {}) {
  const host = await startHost(t, { plugins: ["chat", "echo"], page });
  // Both the chat and the shelf have topics `room:*`.
  const shelf = await readFile(plugin("shelf"), "latin1");
  await host.replace("shelf", Buffer.from(shelf.replaceAll("room:*", "hall:*"), "latin1"));
  const browser = await startBrowser(t);
  const open = async (query = "") => {
    const window = await openWindow(browser, "about:blank");
    window.sent = [];
    window.sockets = 0;
    window.on("websocket", (socket) => {
      window.sockets += 1;
      socket.on("framesent", ({ payload }) => {
        const [, , topic, event] = JSON.parse(payload);
        if (["phx_join", "phx_leave"].includes(event)) window.sent.push(`${event.slice(4)} ${topic}`);
      });
    });
    await window.goto(host.url + query);
    await allJoined(window);
    return window;
  };
  return { host, open, window: await open(query) };
}

async function allJoined(window) {
  for (const part of ["chat", "people", "board", "counter"]) await window.locator(`#${part}[data-status=joined]`).waitFor();
}

/** What the window has sent about a topic. */
const sent = (window, topic) => window.sent.filter((line) => line.endsWith(` ${topic}`)).map((line) => line.split(" ")[0]);
const people = (window) => window.locator("#people li").allTextContents();
const messages = (window) => window.locator("#messages li").allTextContents();
const count = (window, id) => window.locator(`#${id}`).textContent();
const enter = (window, label, text) => window.getByLabel(label, { exact: true }).fill(text);
const press = (window, name) => window.getByRole("button", { name, exact: true }).click();

async function say(window, text) {
  await enter(window, "Message", text);
  await press(window, "Send");
}

const equal = (what, read, expected) =>
  until(what, async () => JSON.stringify(await read()) === JSON.stringify(expected));

test("the types refuse wrong payloads", () => checkTypes(folder));

test("the package has its modules, types and licence, and declares what it exports", async () => {
  const names = (await packed()).files.map(({ path }) => path).sort();
  const expected = ["LICENSE", "README.md", "index.d.mts", "index.mjs", "package.json", "presence_list.mjs"];
  const modules = ["react.d.mts", "react.mjs", "recover.d.mts", "recover.mjs", "room_state.d.mts", "room_state.mjs"];
  assert.deepEqual(names, [...expected, ...modules, "shared_channel.mjs"]);
  for (const module of ["room_state", "react", "recover"]) {
    const text = (suffix) => readFile(`${folder}/node_modules/bennu-client/${module}${suffix}`, "utf8");
    const declared = [...(await text(".d.mts")).matchAll(/^export (?:function|class) (\w+)/gm)].map(([, name]) => name);
    const source = await text(".mjs");
    const exported = [...source.matchAll(/^export (?:function|class) (\w+)/gm)].map(([, name]) => name);
    for (const [, list] of source.matchAll(/^export \{ (.*) \};/gm)) exported.push(...list.split(", "));
    assert.deepEqual([...new Set(declared)].sort(), exported.sort());
  }
  const workspace = await readFile(new URL("../../Cargo.toml", import.meta.url), "utf8");
  const { version } = JSON.parse(await readFile(`${folder}/node_modules/bennu-client/package.json`, "utf8"));
  assert.equal(version, /^version = "(.*)"$/m.exec(workspace)[1], "the package has the workspace's version");
});

test("a page that a server has rendered goes on in the browser, with a socket of its own", async (t) => {
  const { host, window } = await start(t, { query: "/?own" });
  const html = await (await fetch(host.url)).text();
  assert.deepEqual(html.match(/(?<=data-status=")\w+/g), ["joining", "joining", "joining", "joining"]);
  assert.match(html, /not connected/);
  await equal("ada is there", () => people(window), ["ada 1"]);
  await equal("the page is connected", () => count(window, "connection"), "connected");
  assert.deepEqual([window.sockets, window.troubles], [1, []]);
});

test("two components share a channel, which is joined once and left once", async (t) => {
  const { open, window } = await start(t);
  await equal("ada is there", () => people(window), ["ada 1"]);
  const other = await open();
  await enter(other, "User", "bo");
  await equal("both are there", () => people(window), ["ada 1", "bo 1"]);
  assert.deepEqual(sent(window, "room:lobby"), ["join"], "StrictMode mounts twice, and joins once");
  const changes = sent(other, "room:lobby");
  assert.deepEqual([changes.slice(0, 3), changes.at(-1)], [["join", "leave", "join"], "join"], "other params are another join");

  await say(other, "hello");
  await equal("the message arrives once", () => messages(window), ["bo: hello"]);
  await equal("in both components", () => count(window, "heard"), "1");
  await press(window, "Write a");
  await press(window, "Count");
  await equal("the counter has an answer", () => count(window, "count"), "1 by 1");
  await picture(window, "react");

  await press(window, "Toggle people");
  await say(other, "still there?");
  await equal("a component is enough", () => messages(window), ["bo: hello", "bo: still there?"]);
  assert.deepEqual(sent(window, "room:lobby"), ["join"]);
  await press(window, "Toggle people");
  await equal("a later component has the presences", () => people(window), ["ada 1", "bo 1"]);

  await press(window, "Toggle people");
  await press(window, "Toggle chat");
  await equal("ada has left", () => people(other), ["bo 1"]);
  assert.deepEqual(sent(window, "room:lobby"), ["join", "leave"]);
  await press(window, "Toggle chat");
  await equal("ada is back", () => people(other), ["bo 1", "ada 1"]);
  assert.deepEqual(sent(window, "room:lobby"), ["join", "leave", "join"]);

  await press(window, "Toggle people");
  await other.evaluate(() => window.root.unmount());
  await equal("bo has left", () => people(window), ["ada 1"]);
  assert.deepEqual([window.sockets, other.sockets, window.troubles, other.troubles], [1, 1, [], []]);
});

test("a component follows its topic, and shows a refused join", async (t) => {
  const { window } = await start(t);
  await enter(window, "Room", "garden");
  await window.locator("#chat[data-status=joined]").getByText("room:garden").waitFor();
  await equal("the other component follows", () => people(window), ["ada 1"]);
  await say(window, "in the garden");
  await equal("the message arrives", () => messages(window), ["ada: in the garden"]);
  assert.deepEqual([sent(window, "room:lobby"), sent(window, "room:garden")], [["join", "leave"], ["join"]]);

  await enter(window, "Room", "is this ok?");
  await window.locator("#chat[data-status=refused]").getByText("a room's name has letters").waitFor();
  await equal("nobody is there", () => people(window), []);
  await window.locator("#people[data-status=refused]").waitFor();
  await until("phoenix.js tries again by itself", () => sent(window, "room:is this ok?").filter((event) => event === "join").length > 2);
  assert.equal(await count(window, "status"), "refused");

  await enter(window, "Room", "");
  await window.locator("#chat[data-status=idle]").waitFor();
  await say(window, "to nobody");
  await equal("the push is refused", () => count(window, "trouble"), "closed: undefined");
  await enter(window, "Room", "lobby");
  await window.locator("#chat[data-status=joined]").waitFor();
  await say(window, "x".repeat(2001));
  await until("an error reply is shown", async () => (await count(window, "trouble")).startsWith("error: "));
  await press(window, "Join again");
  await equal("a join by hand", () => sent(window, "room:lobby"), ["join", "leave", "join", "leave", "join"]);
  await window.locator("#chat[data-status=joined]").waitFor();
  assert.deepEqual(window.troubles, []);
});

test("only components whose part of the room changes render again", async (t) => {
  const { window } = await start(t);
  const notes = () => window.locator("#board li").allTextContents();
  const renders = async () => (await notes()).slice(0, 4).map((text) => Number(/rendered (\d+)/.exec(text)[1]));
  await press(window, "Write a");
  await equal("the note is there", async () => (await notes()).map((text) => text.split(",")[0]), ["a0", "none", "none", "1", "a0"]);
  const [first, joins] = [await renders(), sent(window, "notes:1")];
  await press(window, "Write b");
  await press(window, "Write b");
  await equal("the other note is there", async () => (await notes()).map((text) => text.split(",")[0]), ["a0", "b2", "none", "2", "a0"]);
  const second = await renders();
  assert.deepEqual(sent(window, "notes:1"), joins, "a render with a new function as params isn't another join");
  const more = second.map((renders, at) => renders - first[at]);
  assert.deepEqual(more, [0, 2, 0, 1], "the notes a and c haven't changed, b has changed twice, and the total once");
  assert.deepEqual(window.troubles, []);
});

test("the page goes on over a reload of a plugin, and joins again after a restart of the host", async (t) => {
  const { host, window } = await start(t);
  await press(window, "Write a");
  await press(window, "Count");
  await equal("the counter has an answer", () => count(window, "count"), "1 by 1");
  await host.replace("echo", await readFile(plugin("variants/echo-v2")));
  await until("the new build answers", async () => {
    await press(window, "Count");
    return (await count(window, "count")).endsWith(" by 2");
  });
  assert.deepEqual([sent(window, "echo:1"), window.sockets, await count(window, "connection")], [["join"], 1, "connected"]);
  assert.deepEqual(window.troubles, []);

  await host.stop();
  await window.locator("#chat[data-status=rejoining]").waitFor();
  await equal("the page knows", () => count(window, "connection"), "not connected");
  assert.deepEqual(await people(window), ["ada 1"], "the last presences stay meanwhile");
  await say(window, "sent meanwhile");
  await host.start();
  await allJoined(window);
  await equal("the push has waited", () => messages(window), ["ada: sent meanwhile"]);
  await equal("ada is there once", () => people(window), ["ada 1"]);
  await press(window, "Write c");
  await window.locator("#note-c").getByText(/c\d/).waitFor();
});
