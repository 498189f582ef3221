// The chat example's page in a real browser, with several windows.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { plugin, until } from "../host.mjs";
import { enter, room, say, shown, start } from "./chat.mjs";
import { desktop, phone, picture } from "./window.mjs";

const people = (page) => page.locator("#people .unseen").allTextContents();
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
const typing = (page) => page.locator("#typing");

test("two people talk in two windows", async (t) => {
  const { open } = await start(t);
  const ada = await open({ ...desktop, colorScheme: "light" });
  await picture(ada, "welcome-light");
  await enter(ada, "Ada");
  const bo = await open({ ...desktop, colorScheme: "dark" });
  await picture(bo, "welcome-dark");
  await enter(bo, "Bo");
  await shown(ada, "Bo came in");
  assert.equal(await bo.getByRole("log").getByText("came in").count(), 0, "users who were present before aren't announced");
  for (const [page, names] of [[ada, ["Ada (you)", "Bo"]], [bo, ["Ada", "Bo (you)"]]]) {
    await until("both are seen", async () => same(await people(page), names));
  }

  await say(ada, "Did you see the heron?");
  for (const page of [ada, bo]) await shown(page, "Did you see the heron?");
  await say(bo, "It stood there for an hour.");
  for (const page of [ada, bo]) await shown(page, "It stood there for an hour.");
  const sender = (page, text) => page.locator(".message", { hasText: text }).locator(".user").textContent();
  assert.equal(await sender(bo, "Did you see the heron?"), "Ada");
  assert.equal(await sender(ada, "Did you see the heron?"), "You");

  await bo.getByLabel("Message", { exact: true }).pressSequentially("Then the s");
  await typing(ada).getByText("Bo is typing").waitFor();
  assert.equal(await typing(bo).textContent(), "", "a user's own typing isn't shown to that user");
  await picture(ada, "desktop-light");
  await picture(bo, "desktop-dark");
  await say(bo, "Then the sun rose, and it was gone.");
  await shown(ada, "Then the sun rose, and it was gone.");
  await until("nobody types", async () => (await typing(ada).textContent()) === "");

  await bo.close();
  await shown(ada, "Bo left");
  assert.deepEqual(await people(ada), ["Ada (you)"]);
  assert.deepEqual([...ada.troubles, ...bo.troubles], []);
});

test("messages that look like HTML are shown as text", async (t) => {
  const { open } = await start(t);
  const ada = await open();
  await enter(ada, "<i>Ada</i>");
  const bo = await open();
  await enter(bo, "Bo");
  const nasty = '<img src=x onerror="document.title=1"> & <b>bold</b>';
  await say(ada, nasty);
  await shown(bo, nasty);
  await bo.getByRole("log").getByText("<i>Ada</i>", { exact: true }).waitFor();
  assert.equal(await bo.locator(".log b, .log i:not(.dots i), .log img").count(), 0);
  assert.deepEqual(bo.troubles, []);
});

test("rooms are separate, and unread messages are counted", async (t) => {
  const { open } = await start(t);
  const [ada, bo] = [await open(), await open()];
  await enter(ada, "Ada");
  await enter(bo, "Bo");
  await ada.getByPlaceholder("another room").fill("Reed Bed");
  await ada.keyboard.press("Enter");
  await room(ada, "reed-bed");
  await say(ada, "only here");
  await shown(ada, "only here");

  await say(bo, "one");
  await say(bo, "two");
  await ada.getByLabel("2 unread").waitFor();
  await until("the title shows the count too", async () => (await ada.title()).startsWith("(2) "));
  assert.equal(await bo.getByText("only here").count(), 0);

  await ada.getByRole("link", { name: "lobby" }).click();
  await shown(ada, "two");
  assert.equal(await ada.getByLabel("2 unread").count(), 0);
  await ada.keyboard.press("Alt+ArrowDown");
  await room(ada, "garden");
});

test("the page explains a refused join, and offers another room", async (t) => {
  const { open } = await start(t);
  const ada = await open();
  await enter(ada, "Ada");
  await ada.getByPlaceholder("another room").fill("is this ok?");
  await ada.keyboard.press("Enter");
  await ada.getByRole("heading", { name: "You can't join this room" }).waitFor();
  await ada.getByText("A room's name has letters, digits, - and _.").waitFor();
  await picture(ada, "refused-light");

  await ada.getByRole("button", { name: "Go to the lobby" }).click();
  await room(ada, "lobby");
  await say(ada, "back in the lobby");
  await shown(ada, "back in the lobby");
  assert.equal(await ada.getByRole("link", { name: "is-this-ok?" }).count(), 0, "the refused room is no longer offered");
});

test("a page reconnects by itself after the host has restarted", async (t) => {
  const { host, open } = await start(t);
  const ada = await open();
  await enter(ada, "Ada");
  await say(ada, "before");
  await shown(ada, "before");

  await host.stop();
  await ada.getByText("Reconnecting").waitFor();
  await picture(ada, "reconnecting-light");
  await say(ada, "sent meanwhile");
  await ada.getByText("on its way").waitFor();
  await host.start();
  await ada.getByText("Connected", { exact: true }).waitFor();
  await shown(ada, "Back again");
  await shown(ada, "sent meanwhile");
  await shown(ada, "before");
});

test("a plugin is reloaded while its page is open", async (t) => {
  const { host, open } = await start(t);
  const [ada, bo] = [await open(), await open()];
  await enter(ada, "Ada");
  await enter(bo, "Bo");
  await bo.getByPlaceholder("another room").fill("no/such");
  await bo.keyboard.press("Enter");
  await bo.getByText("A room's name has letters, digits, - and _.").waitFor();

  // The same plugin with another sentence of the same length, as if its source had been edited.
  const built = await readFile(plugin("chat"), "latin1");
  const edited = built.replaceAll("a room's name has letters", "a room's name has LETTERS");
  assert.notEqual(edited, built);
  await host.replace("chat", Buffer.from(edited, "latin1"));
  await until("the page shows the change", async () => {
    await bo.getByRole("button", { name: "Join again" }).click();
    await bo.locator("#conversation[data-state=refused]").waitFor();
    return (await bo.locator("#reason").textContent()).includes("LETTERS");
  });
  await say(ada, "still here");
  await shown(ada, "still here");
  assert.equal(await ada.getByText("Back again").count(), 0, "nobody had to join again");
  assert.deepEqual(ada.troubles, []);
});

test("the page fits a phone, and needs no mouse", async (t) => {
  const { open } = await start(t);
  const ada = await open({ ...phone, colorScheme: "dark" });
  await ada.keyboard.type("Ada");
  await ada.keyboard.press("Enter");
  await room(ada, "lobby");
  await ada.getByLabel("Message", { exact: true }).focus();
  await ada.keyboard.type("From a phone, with a message that is longer than the phone is wide");
  await ada.keyboard.press("Enter");
  await shown(ada, "From a phone, with a message that is longer than the phone is wide");
  const { width, seen } = await ada.evaluate(() => ({
    width: document.documentElement.scrollWidth,
    seen: document.documentElement.clientWidth,
  }));
  assert.ok(width <= seen, `the page is ${width} wide on a screen of ${seen}`);
  await picture(ada, "phone-dark");

  const bo = await open({ ...phone, colorScheme: "light" });
  await enter(bo, "Bo");
  await say(bo, "Me too");
  await shown(ada, "Me too");
  await say(ada, "Good");
  await shown(bo, "Good");
  await picture(bo, "phone-light");
});
