// The editor of the example yjs in a real browser: two windows write one text, also while one of them is offline.

import assert from "node:assert/strict";
import { test } from "node:test";

import { startHost, until } from "../host.mjs";
import { desktop, openWindow, phone, picture, startBrowser } from "./window.mjs";

const field = (page) => page.getByLabel("Text", { exact: true });
const value = (page) => field(page).inputValue();
const saved = (page) => page.locator("#state[data-state=saved]").waitFor();
const line = (page, name) => page.getByRole("button", { name }).click();

async function start(t) {
  const host = await startHost(t, { plugins: ["yjs"], page: "yjs" });
  const browser = await startBrowser(t);
  const open = async (name, options = desktop) => {
    const page = await openWindow(browser, `${host.url}/#tea`, options);
    await page.getByLabel("Your name").fill(name);
    await saved(page);
    return page;
  };
  return { host, open };
}

/** Waits until both pages are saved and show the same text, and returns it. */
async function converged(one, other) {
  await Promise.all([saved(one), saved(other)]);
  await until("both show the same text", async () => (await value(one)) === (await value(other)));
  return value(one);
}

/** Puts the cursor of a page to a place in the text. */
const put = (page, at) => field(page).evaluate((field, at) => (field.focus(), field.setSelectionRange(at, at)), at);

test("two windows write one text, and each keeps its place", async (t) => {
  const { open } = await start(t);
  const ada = await open("Ada", { ...desktop, colorScheme: "light" });
  const bo = await open("Bo", { ...phone, colorScheme: "dark" });
  await field(ada).pressSequentially("Tea for two.\nA pot, and two cups.\n");
  assert.equal(await converged(ada, bo), "Tea for two.\nA pot, and two cups.\n");
  await put(bo, 12);
  await put(ada, 0);
  await field(ada).pressSequentially("Today: ");
  await until("Bo sees it", async () => (await value(bo)).startsWith("Today: "));
  // Bo's cursor was after "two", and has moved with the text.
  await field(bo).pressSequentially(" Or three. \u{1F375}");
  assert.equal(await converged(ada, bo), "Today: Tea for two. Or three. \u{1F375}\nA pot, and two cups.\n");
  const people = (page) => page.locator("#people li").allTextContents();
  await until("each sees the other", async () => (await people(ada)).length === 2 && (await people(bo)).length === 2);
  assert.deepEqual(await people(ada), ["Adayou", "Boline 1"]);
  await picture(ada, "yjs-light");
  await picture(bo, "yjs-phone-dark");
  await bo.close();
  await until("Bo is gone", async () => (await people(ada)).length === 1);
  assert.deepEqual([...ada.troubles, ...bo.troubles], []);
});

test("two windows go offline, write on, and have the same text again", async (t) => {
  const { host, open } = await start(t);
  const ada = await open("Ada"), bo = await open("Bo");
  await field(ada).pressSequentially("one two three");
  await converged(ada, bo);
  await line(ada, "Go offline");
  await line(bo, "Go offline");
  await ada.locator("#state[data-state=offline]").waitFor();
  await put(ada, 3);
  await field(ada).pressSequentially(" (ada)");
  await put(bo, 13);
  for (let n = 0; n < 5; n++) await bo.keyboard.press("Backspace");
  await field(bo).pressSequentially("four (bo)");
  assert.deepEqual([await value(ada), await value(bo)], ["one (ada) two three", "one two four (bo)"]);
  await picture(bo, "yjs-offline");
  await line(ada, "Go online");
  await line(bo, "Go online");
  assert.equal(await converged(ada, bo), "one (ada) two four (bo)");

  // The host is gone, and both write on.
  await host.kill();
  await put(ada, 0);
  await field(ada).pressSequentially("zero ");
  await put(bo, (await value(bo)).length);
  await field(bo).pressSequentially(" five");
  await host.start();
  assert.equal(await converged(ada, bo), "zero one (ada) two four (bo) five");
  await ada.reload();
  await saved(ada);
  assert.equal(await value(ada), "zero one (ada) two four (bo) five");
});
