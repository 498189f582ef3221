// The chat's page, for tests: the actions of users, and the content that they see.

import { startHost } from "../host.mjs";
import { openWindow, startBrowser } from "./window.mjs";

/** Starts a host with the chat and its page, and a browser. `config` is the text of the host's bennu.toml. */
export async function start(t, config = undefined) {
  const host = await startHost(t, { plugins: ["chat"], page: "chat", config });
  const browser = await startBrowser(t);
  return { host, browser, open: (options) => openWindow(browser, host.url, options) };
}

/** Enters the chat under a name. */
export async function enter(page, name) {
  await page.getByLabel("Your name").fill(name);
  await page.getByRole("button", { name: "Step in" }).click();
  await room(page, "lobby");
}

/** Waits until the page shows a room that it has joined. */
export async function room(page, name) {
  await page.getByRole("heading", { name, exact: true }).waitFor();
  await page.locator("#conversation[data-state=joined]").waitFor();
}

export async function say(page, text) {
  await page.getByLabel("Message", { exact: true }).fill(text);
  await page.keyboard.press("Enter");
}

/** Waits until the conversation shows a text. */
export const shown = (page, text) => page.getByRole("log").getByText(text, { exact: true }).waitFor();

/** The messages that a page shows, in order. */
export const said = (page) =>
  page.locator(".log:not([hidden]) .lines:not(.pending) .bubble").evaluateAll((all) =>
    all.map((bubble) => bubble.firstChild.textContent),
  );
