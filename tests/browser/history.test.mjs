// The chat's history: it survives lost connections and restarts, and authors can change their messages.

import assert from "node:assert/strict";
import { test } from "node:test";

import { until } from "../host.mjs";
import { connect, join } from "../phoenix/client.mjs";
import { enter, room, said, say, shown, start } from "./chat.mjs";
import { desktop, phone, picture } from "./window.mjs";

const LOBBY = "room:lobby";

/** Waits until a page shows exactly these messages. */
async function shows(page, messages) {
  const expected = JSON.stringify(messages);
  let seen;
  await until(`the page shows ${expected}`, async () => (seen = JSON.stringify(await said(page))) === expected).catch(
    (error) => assert.fail(`${error.message}, but ${seen}`),
  );
}

/** Controls the connections of a page, from its next connection on. */
async function wire(page) {
  const wire = { cut: false, drops: false, open: new Set() };
  await page.routeWebSocket(/\/socket/, (client) => {
    if (wire.cut) return client.close({ code: 1012 });
    const host = client.connectToServer();
    wire.open.add(client);
    client.onClose(() => wire.open.delete(client));
    host.onMessage((frame) => wire.drops || client.send(frame));
  });
  await page.reload();
  return {
    /** Drops all further messages from the host. */
    dropAll: () => (wire.drops = true),
    async cut() {
      wire.cut = true;
      wire.drops = false;
      for (const client of wire.open) await client.close({ code: 1012 });
      await page.getByText("Reconnecting").waitFor();
    },
    async restore() {
      wire.cut = false;
      await page.getByText("Connected", { exact: true }).waitFor();
      await page.locator("#conversation[data-state=joined]").waitFor();
    },
  };
}

/** Opens another window of the same browser, for a user. */
async function reopen(page, name) {
  const again = await page.context().newPage();
  await again.goto(page.url());
  await enter(again, name);
  return again;
}

/** A user in Node who sends many messages. */
async function talker(t, host) {
  const channel = await join(connect(t, host), LOBBY, { user: "Tao", key: "0123456789abcdef" });
  return {
    async says(from, to) {
      const said = [];
      for (let n = from; n <= to; n += 1) said.push(channel.push("new_msg", { body: `message ${n}` }));
      return (await Promise.all(said)).map(({ response }) => response.id);
    },
    push: (event, payload) => channel.push(event, payload),
  };
}

const numbered = (from, to) => Array.from({ length: to - from + 1 }, (_, at) => `message ${from + at}`);
const field = (page) => page.getByLabel("Message", { exact: true });
const scrollTo = (page, top) =>
  page.locator(".log:not([hidden])").evaluate((log, top) => (log.scrollTop = top), top);

test("after a lost connection a page gets the missed messages and changes, each once", async (t) => {
  const { open } = await start(t);
  const [ada, bo] = [await open(), await open()];
  await enter(ada, "Ada");
  await enter(bo, "Bo");
  const connection = await wire(bo);
  await room(bo, "lobby");
  for (const text of ["one", "two", "three"]) await say(ada, text);
  await shows(bo, ["one", "two", "three"]);

  await connection.cut();
  await say(bo, "from afar");
  await say(ada, "four");
  await shows(ada, ["one", "two", "three", "four"]);
  for (let up = 0; up < 4; up += 1) await ada.keyboard.press("ArrowUp");
  await say(ada, "one, at last");
  await ada.locator(".message", { hasText: "two" }).hover();
  await ada.locator(".message", { hasText: "two" }).getByRole("button", { name: "Delete" }).click();
  await ada.getByRole("button", { name: "Delete it?" }).click();
  await shows(ada, ["one, at last", "This message was deleted", "three", "four"]);
  assert.deepEqual(await said(bo), ["one", "two", "three"]);

  await connection.restore();
  const all = ["one, at last", "This message was deleted", "three", "four", "from afar"];
  for (const page of [ada, bo]) await shows(page, all);
  await shown(bo, "Back again");
  await bo.getByText("New messages").waitFor();
  await picture(bo, "caught-up-light");
  assert.deepEqual(ada.troubles, []);
});

test("missed messages come from the host's memory, once and in order, and from the plugin if the host has lost them", async (t) => {
  const { open, host } = await start(t);
  const [ada, bo] = [await open(), await open()];
  await enter(ada, "Ada");
  await enter(bo, "Bo");
  const connection = await wire(bo);
  await room(bo, "lobby");
  await say(ada, "one");
  await shows(bo, ["one"]);
  for (const [round, text] of ["two", "three", "four"].entries()) {
    await connection.cut();
    await say(ada, text);
    await say(ada, `${text} again`);
    await connection.restore();
    await shows(bo, ["one", "two", "two again", "three", "three again", "four", "four again"].slice(0, 3 + 2 * round));
  }
  const { recovered, missed } = (await (await host.api("/api/inspect")).json()).history;
  assert.ok(recovered >= 3 && missed === 0, `${recovered} recovered, ${missed} missed`);

  await connection.cut();
  await say(ada, "five");
  await host.stop();
  await host.start();
  await connection.restore();
  await shows(bo, ["one", "two", "two again", "three", "three again", "four", "four again", "five"]);
  assert.ok((await (await host.api("/api/inspect")).json()).history.missed >= 1);
});

test("a message whose reply was lost appears once", async (t) => {
  const { open } = await start(t);
  const [ada, bo] = [await open(), await open()];
  await enter(ada, "Ada");
  await enter(bo, "Bo");
  const connection = await wire(bo);
  await room(bo, "lobby");
  connection.dropAll();
  await say(bo, "did you get this?");
  await shows(ada, ["did you get this?"]);
  await bo.getByText("on its way").waitFor();
  await connection.cut();
  await connection.restore();
  await until("the message has arrived", async () => (await bo.getByText("on its way").count()) === 0);
  await say(bo, "and this?");
  for (const page of [ada, bo]) await shows(page, ["did you get this?", "and this?"]);
});

test("messages and their authors survive a restart of the host", async (t) => {
  const { host, open } = await start(t);
  const [ada, bo] = [await open(), await open()];
  await enter(ada, "Ada");
  await enter(bo, "Bo");
  await say(ada, "before the storm");
  await shown(bo, "before the storm");
  await say(bo, "it is calm");
  await shown(ada, "it is calm");

  await host.stop();
  for (const page of [ada, bo]) await page.getByText("Reconnecting").waitFor();
  await host.start();
  for (const page of [ada, bo]) await shown(page, "Back again");
  await say(ada, "after it");
  const all = ["before the storm", "it is calm", "after it"];
  for (const page of [ada, bo]) await shows(page, all);

  // The window opens again with the browser's stored data. Another user only has the same name.
  const again = await reopen(ada, "Ada");
  await shows(again, all);
  assert.equal(await again.locator(".mine").count(), 2);
  const other = await open();
  await enter(other, "Ada");
  await shows(other, all);
  assert.equal(await other.locator(".mine").count(), 0);

  await field(again).focus();
  await again.keyboard.press("ArrowUp");
  await say(again, "after it all");
  for (const page of [ada, bo, other]) await shows(page, [...all.slice(0, 2), "after it all"]);
  assert.deepEqual(other.troubles, []);
});

test("users change their own messages with the keyboard alone", async (t) => {
  const { open } = await start(t);
  const [ada, bo] = [await open({ ...desktop, colorScheme: "light" }), await open({ ...desktop, colorScheme: "dark" })];
  await enter(ada, "Ada");
  await enter(bo, "Bo");
  for (const text of ["Meet me at the rive", "At noon", "Bring bred"]) await say(ada, text);
  await shows(bo, ["Meet me at the rive", "At noon", "Bring bred"]);
  await say(bo, "Gladly");
  await shown(ada, "Gladly");

  await field(ada).focus();
  await ada.keyboard.press("ArrowUp");
  assert.equal(await field(ada).inputValue(), "Bring bred");
  for (const key of ["Backspace", "a", "d"]) await ada.keyboard.press(key);
  await ada.keyboard.press("Enter");
  for (const page of [ada, bo]) await shows(page, ["Meet me at the rive", "At noon", "Bring bread", "Gladly"]);
  // Edit again, and cancel.
  await ada.keyboard.press("ArrowUp");
  await ada.keyboard.type(" and more");
  await ada.keyboard.press("Escape");
  assert.equal(await field(ada).inputValue(), "");
  await ada.keyboard.press("ArrowUp");
  await ada.keyboard.press("ArrowUp");
  await ada.keyboard.press("ArrowUp");
  await ada.keyboard.type("r");
  await picture(ada, "editing-light");
  await ada.keyboard.press("Enter");
  await shows(bo, ["Meet me at the river", "At noon", "Bring bread", "Gladly"]);
  assert.equal(await bo.getByText("edited", { exact: true }).count(), 2);

  await ada.keyboard.press("ArrowUp");
  await ada.keyboard.press("ArrowUp");
  await ada.keyboard.press("Shift+Tab");
  await ada.keyboard.press("Shift+Tab");
  await ada.keyboard.press("Enter");
  await ada.getByRole("button", { name: "Delete it?" }).waitFor();
  await ada.keyboard.press("Enter");
  for (const page of [ada, bo]) {
    await shows(page, ["Meet me at the river", "This message was deleted", "Bring bread", "Gladly"]);
  }
  assert.ok(await field(ada).evaluate((field) => field === document.activeElement), "the user can continue to type");
  // Bo can't change Ada's messages.
  assert.equal(await bo.locator(".message:not(.mine) .actions").count(), 0);
  await field(bo).focus();
  await bo.keyboard.press("ArrowUp");
  assert.equal(await field(bo).inputValue(), "Gladly");
  await bo.keyboard.press("Escape");
  await picture(bo, "edited-dark");
  assert.deepEqual([...ada.troubles, ...bo.troubles], []);
});

test("users change their own messages by touch", async (t) => {
  const { open } = await start(t);
  const ada = await open({ ...phone, colorScheme: "light" });
  await enter(ada, "Ada");
  await say(ada, "Hello rivr");
  await say(ada, "Oh no");
  await shows(ada, ["Hello rivr", "Oh no"]);
  const actions = (text) => ada.locator(".message", { hasText: text }).locator(".actions");
  assert.ok(!(await actions("Hello rivr").isVisible()));
  await ada.getByText("Hello rivr").tap();
  await picture(ada, "phone-actions-light");
  await actions("Hello rivr").getByText("Edit").tap();
  await field(ada).fill("Hello river");
  await picture(ada, "phone-editing-light");
  await ada.getByRole("button", { name: "Save" }).tap();
  await shows(ada, ["Hello river", "Oh no"]);
  await ada.getByText("Oh no").tap();
  await actions("Oh no").getByText("Delete").tap();
  await actions("Oh no").getByText("Delete it?").tap();
  await shows(ada, ["Hello river", "This message was deleted"]);
});

test("scrolling up loads older messages, and the visible ones keep their position", async (t) => {
  const { host, open } = await start(t);
  const tao = await talker(t, host);
  await tao.says(1, 170);
  const ada = await open({ ...desktop, colorScheme: "light" });
  await enter(ada, "Ada");
  await shows(ada, numbered(121, 170));

  const held = ada.getByText("message 140", { exact: true });
  const top = () => held.evaluate((element) => element.getBoundingClientRect().top);
  await scrollTo(ada, 500);
  const here = await top();
  await shows(ada, numbered(71, 170));
  assert.ok(Math.abs((await top()) - here) < 1.5, `it was at ${here}, and is at ${await top()}`);
  await picture(ada, "older-light");

  // New messages below don't move it either, and the page announces them.
  await tao.says(171, 172);
  await ada.getByRole("button", { name: "New messages" }).waitFor();
  assert.ok(Math.abs((await top()) - here) < 1.5, "the message stays at its position");

  for (let at = 0; at < 2; at += 1) {
    const count = (await said(ada)).length;
    await scrollTo(ada, 0);
    await until("older messages are loaded", async () => (await said(ada)).length > count);
  }
  await shows(ada, numbered(1, 172));
  await ada.getByText("This is where #lobby begins.").waitFor();
  await ada.getByRole("button", { name: "New messages" }).click();
  await until("the newest message is visible", () => ada.getByText("message 172").isVisible());
  assert.deepEqual(ada.troubles, []);
});

test("after many missed messages a page shows the newest, and the rest above them", async (t) => {
  const { host, open } = await start(t);
  const tao = await talker(t, host);
  const [first] = await tao.says(1, 3);
  const ada = await open();
  await enter(ada, "Ada");
  const connection = await wire(ada);
  await room(ada, "lobby");
  await shows(ada, numbered(1, 3));
  await connection.cut();
  await tao.says(4, 210);
  await tao.push("edit", { id: first, body: "message one" });
  await connection.restore();
  await shown(ada, "message 210");
  assert.ok(!(await said(ada)).includes("message 1"), "the old messages may have changed, so the page drops them");
  const begins = () => ada.getByText("This is where #lobby begins.").count();
  while ((await begins()) === 0) {
    const count = (await said(ada)).length;
    await scrollTo(ada, 0);
    await until("older messages are loaded", async () => (await said(ada)).length > count || (await begins()));
  }
  await shows(ada, ["message one", ...numbered(2, 210)]);
  const order = await ada.locator(".lines:not(.pending) > li").allTextContents();
  const divider = order.indexOf("New messages");
  assert.match(order[divider + 1], /message 4$/);
});

test("a divider marks the messages since the last visit, and there is a heading for each day", async (t) => {
  const { open } = await start(t);
  const [ada, bo] = [await open(), await open({ ...desktop, colorScheme: "dark" })];
  await enter(ada, "Ada");
  await enter(bo, "Bo");
  await say(ada, "See you");
  await shown(bo, "See you");
  const where = bo.url();
  await until("the message is read", () => bo.evaluate(() => localStorage.getItem("chat-read/lobby/Bo")));
  const context = bo.context();
  await bo.goto("about:blank");
  for (const text of ["Still there?", "Well, good night"]) await say(ada, text);
  await shown(ada, "Well, good night");

  const tomorrow = await context.newPage();
  await tomorrow.clock.setFixedTime(Date.now() + 24 * 3600_000);
  await tomorrow.goto(where);
  await enter(tomorrow, "Bo");
  await shows(tomorrow, ["See you", "Still there?", "Well, good night"]);
  const lines = await tomorrow.locator(".lines:not(.pending) > li").allTextContents();
  assert.equal(lines[1], "Yesterday");
  assert.equal(lines[3], "New messages");
  await picture(tomorrow, "divider-dark");
  await say(tomorrow, "Good morning");
  await until("the new messages are read", async () => (await tomorrow.getByText("New messages").count()) === 0);
});
