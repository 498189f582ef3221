// The pages for the browser that docs/socketio.md and docs/centrifugo.md show, in a real browser.

import assert from "node:assert/strict";
import { copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test } from "node:test";

import { startHost, until } from "../host.mjs";
import { readPage, scripts, signJwt } from "../pages.mjs";
import { openWindow, picture, startBrowser } from "./window.mjs";

const phoenix = resolve(import.meta.dirname, "../node_modules/phoenix/priv/static/phoenix.mjs");

/** The folder `public` of a section: its page, next to the client. */
async function publicFolder(t, html) {
  const folder = await mkdtemp(join(tmpdir(), "bennu-public-"));
  t.after(() => rm(folder, { recursive: true }));
  await copyFile(phoenix, join(folder, "phoenix.mjs"));
  await writeFile(join(folder, "index.html"), html);
  return folder;
}

test("the chat of docs/socketio.md in two windows, and an edit while they are open", async (t) => {
  const blocks = (await readPage("socketio.md")).get("A chat");
  const page = await publicFolder(t, blocks.get("public/index.html"));
  const host = await startHost(t, { scripts: scripts(blocks), page });
  const browser = await startBrowser(t);
  const [one, two] = [await openWindow(browser, host.url), await openWindow(browser, host.url)];

  const say = async (window, text) => {
    await window.locator("#input").fill(text);
    await window.getByRole("button", { name: "Send" }).click();
  };
  await say(one, "hello");
  for (const window of [one, two]) await window.locator("li", { hasText: /^hello$/ }).waitFor();
  const source = blocks.get("plugins/chat.ts");
  await host.write("chat.ts", source.replace('broadcast("chat message", { text })', 'broadcast("chat message", { text: text.toUpperCase() })'));
  await until("the new build serves", async () => /"generation":\s*2/.test(await host.bennu("inspect", "--json")));
  await say(two, "again");
  for (const window of [one, two]) await window.locator("li", { hasText: /^AGAIN$/ }).waitFor();
  await picture(one, "from-socketio");
  for (const window of [one, two]) assert.deepEqual(window.troubles, []);
});

test("the counter of docs/centrifugo.md, published by the API", async (t) => {
  const blocks = (await readPage("centrifugo.md")).get("Quick start");
  const page = await publicFolder(t, blocks.get("public/index.html"));
  process.env.API_KEY = "the key of this test";
  process.env.HMAC_SECRET_KEY = "the secret of this test, of 32 bytes";
  const config = blocks.get("bennu.toml").replace(/^(load|static) = .*$/gm, "");
  const host = await startHost(t, { scripts: scripts(blocks), page, config });
  const browser = await startBrowser(t);
  const window = await openWindow(browser, `${host.url}/#token=${signJwt(process.env.HMAC_SECRET_KEY, { sub: "123722" })}`);
  await until("the page has joined, and shows the value", async () => {
    await host.bennu("broadcast", "--config", "bennu.toml", "counter", "publication", '{"value": 2}');
    return (await window.locator("#counter").textContent()) === "2";
  });
  assert.deepEqual(window.troubles, []);
});
