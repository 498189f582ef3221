// The dashboard, for tests: a host with one, and what an operator does on its pages.

import { startHost, until } from "../host.mjs";
import { openWindow, startBrowser } from "./window.mjs";

/** Starts a host whose API has its own address, and a browser. `config` is added to its bennu.toml, before the table `api`. `port` is the
 * port of the API, which a host that starts again then keeps. */
export async function start(t, { config = "", port = 0, ...options } = {}) {
  const host = await startHost(t, { ...options, config: `${config}\n[api]\nlisten = "127.0.0.1:${port}"\n` });
  const url = await until("the host says where its API is", () => /the API listens on (http:\/\/[\d.:]+)/.exec(host.log)?.[1]);
  const browser = await startBrowser(t);
  const open = (options) => openWindow(browser, `${url}/dashboard/`, options);
  return { host, url, browser, open, openSignedIn: async (options) => signIn(host, await open(options)) };
}

/** Signs in with a key: the host's own, unless another one is given. */
export async function signIn(host, page, key) {
  await page.getByLabel("API key").fill(key ?? (await host.apiKey()));
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("Live", { exact: true }).waitFor();
  return page;
}

/** Opens a page of the menu. */
export async function go(page, name) {
  await page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name: new RegExp(`^${name}`) }).click();
  await page.getByRole("heading", { level: 1, name }).waitFor();
}

/** Answers the question that is shown. */
export async function answer(page, button) {
  await page.getByRole("dialog").getByRole("button", { name: button, exact: true }).click();
}

/** Joins a topic in the playground. */
export async function join(page, topic, { user = "", params = {} } = {}) {
  await page.getByLabel("Topic").fill(topic);
  await page.getByLabel("User", { exact: false }).first().fill(user);
  await page.getByLabel("Params of the join").fill(JSON.stringify(params));
  await page.getByRole("button", { name: "Join", exact: true }).click();
  await page.getByText("joined", { exact: true }).waitFor();
}

/** Pushes an event in the playground. */
export async function push(page, event, payload = {}) {
  await page.getByLabel("Event", { exact: true }).fill(event);
  await page.getByLabel("Payload").fill(JSON.stringify(payload));
  await page.getByRole("button", { name: "Push" }).click();
}
