// The notifications' page, and the start page that links to it, in a real browser.

import assert from "node:assert/strict";
import { test } from "node:test";

import { notify, startDemo, token } from "../demo.mjs";
import { DEADLINE, until } from "../host.mjs";
import { pushConfig, startPushService } from "../push.mjs";
import { desktop, openWindow, phone, picture, startBrowser } from "./window.mjs";

async function start(t, config = "") {
  const host = await startDemo(t, { config });
  const browser = await startBrowser(t);
  const link = async (user, as = user) => {
    const who = new URLSearchParams({ user, token: await token(host, as) });
    return `${host.url}/notifications/#${who}`;
  };
  return { host, browser, link, open: async (user, options) => openWindow(browser, await link(user), options) };
}

/** Waits until the page is connected and shows this number of unread notifications. */
async function counts(page, unread) {
  await page.getByText("Connected", { exact: true }).waitFor();
  await page.locator("#unread").getByText(unread === 0 ? "All read" : `${unread} unread`, { exact: true }).waitFor();
  await until("the title shows the count too", async () => (await page.title()).startsWith(`(${unread}) `) === unread > 0);
}

/** The titles of the list, with a `-` before those that were read. */
const list = (page) =>
  page.locator(".item").evaluateAll((items) =>
    items.map((item) => `${item.matches(".unread") ? "" : "-"}${item.querySelector("h2").textContent}`).join(" "),
  );
const toast = (page, text) => page.locator(".toast").getByText(text, { exact: true }).waitFor();

test("notifications for an offline user appear in two tabs, are read in one, and survive a restart", async (t) => {
  const { host, open } = await start(t);
  await notify(host, "ada", { title: "Tea", body: "The kettle is on." });
  await notify(host, "ada", { title: "Heron", body: "Seen at the reeds.", link: "/chat/" });

  const one = await open("ada", { ...desktop, colorScheme: "light" });
  const two = await open("ada", { ...desktop, colorScheme: "dark" });
  for (const page of [one, two]) {
    await counts(page, 2);
    assert.equal(await list(page), "Heron Tea");
    assert.equal(await page.locator(".toast").count(), 0, "an old notification isn't shown as a new one");
  }
  assert.equal(new URL(one.url()).hash, "", "the token isn't shown");

  await one.getByRole("button", { name: "Mark as read: Tea" }).click();
  for (const page of [one, two]) {
    await counts(page, 1);
    assert.equal(await list(page), "Heron -Tea");
  }
  await notify(host, "ada", { title: "Sun", body: "It rises." });
  for (const page of [one, two]) {
    await toast(page, "Sun");
    await counts(page, 2);
  }
  await picture(one, "notifications-light");
  await picture(two, "notifications-dark");

  await host.stop();
  await two.getByText("Reconnecting").waitFor();
  const idle = two.getByRole("button", { name: "Mark all as read" });
  assert.equal(await idle.isDisabled(), true, "nothing can be marked as read without a connection");
  await host.start();
  for (const page of [one, two]) await counts(page, 2);
  assert.equal(await list(two), "Sun Heron -Tea");
  await two.getByRole("button", { name: "Mark all as read" }).click();
  for (const page of [one, two]) await counts(page, 0);

  await host.stop();
  await one.getByText("Reconnecting").waitFor();
  await host.start();
  await notify(host, "ada", { title: "Moon" });
  await counts(one, 1);
  await one.reload();
  await counts(one, 1);
  assert.equal(await list(one), "Moon -Sun -Heron -Tea");
});

test("users see only their own notifications, and the page explains an invalid link", async (t) => {
  const { host, browser, link, open } = await start(t);
  await notify(host, "ada", { title: "For Ada" });
  const bo = await openWindow(browser, await link("ada", "bo"));
  await bo.getByRole("heading", { name: "You can't see these notifications" }).waitFor();
  await bo.getByText("Only the user may see these notifications.").waitFor();
  await picture(bo, "notifications-refused");
  assert.equal(await bo.getByText("For Ada").count(), 0);
  assert.equal((await open("bo")).url().includes("token"), false);

  const late = await openWindow(browser, `${host.url}/notifications/#user=ada&token=forged`);
  await late.getByRole("heading", { name: "This link isn't valid any more" }).waitFor();
  const nobody = await openWindow(browser, `${host.url}/notifications/`);
  await nobody.getByRole("heading", { name: "Who are you?" }).waitFor();
  await nobody.getByRole("link", { name: "To the start page" }).click();
  await nobody.getByRole("heading", { name: "Notifications" }).waitFor();
});

test("many notifications, long ones and unusual ones", async (t) => {
  const { host, open } = await start(t);
  const nasty = '<img src=x onerror="document.title=1"> & <b>bold</b>';
  for (let n = 1; n <= 64; n += 1) await notify(host, "cleo", { title: `number ${n}` });
  await notify(host, "cleo", { title: nasty, body: nasty, link: "https://example.com/a?b=c" });
  await notify(host, "cleo", { title: "long".repeat(30), body: `${"word ".repeat(190)}${"x".repeat(40)}` });
  const cleo = await open("cleo", { ...phone, colorScheme: "light" });
  await counts(cleo, 66);
  assert.equal(await cleo.locator(".item img, .item b").count(), 0);
  await cleo.getByRole("link", { name: "Open: <img" }).getByText("example.com").waitFor();
  const { width, seen } = await cleo.evaluate(() => ({
    width: document.documentElement.scrollWidth,
    seen: document.documentElement.clientWidth,
  }));
  assert.ok(width <= seen, `the page is ${width} wide on a screen of ${seen}`);
  await picture(cleo, "notifications-phone-light");

  await cleo.getByRole("button", { name: "Show older ones" }).click();
  await until("the next page is loaded", async () => (await cleo.locator(".item").count()) === 60);
  await host.stop();
  await cleo.getByText("Reconnecting").waitFor();
  await host.start();
  await counts(cleo, 66);
  await until("all are shown again", async () => (await cleo.locator(".item").count()) === 60);
  await cleo.getByRole("button", { name: "Show older ones" }).click();
  await cleo.getByRole("heading", { name: "number 1", exact: true }).waitFor();
  assert.equal(await cleo.locator(".item").count(), 66);
  assert.equal(await cleo.getByRole("button", { name: "Show older ones" }).count(), 0);
});

test("the page works without a mouse", async (t) => {
  const { host, open } = await start(t);
  for (const title of ["one", "two", "three"]) await notify(host, "ada", { title });
  const ada = await open("ada");
  await counts(ada, 3);
  const focused = () =>
    ada.evaluate(() => document.activeElement.getAttribute("aria-label") ?? document.activeElement.textContent);
  await ada.getByRole("button", { name: "Mark as read: two" }).focus();
  await ada.keyboard.press("Enter");
  await counts(ada, 2);
  assert.equal(await focused(), "Mark as read: one", "the next unread one");
  await ada.keyboard.press("Enter");
  await counts(ada, 1);
  assert.equal(await focused(), "Mark as read: three");
  await ada.keyboard.press("ArrowDown");
  assert.match(await focused(), /^two/);
  await ada.getByRole("button", { name: "Mark all as read" }).focus();
  await ada.keyboard.press("Enter");
  await counts(ada, 0);
  assert.equal(await focused(), "Notifications");

  await notify(host, "ada", { title: "four" });
  await toast(ada, "four");
  await ada.keyboard.press("Escape");
  assert.equal(await ada.locator(".toast").count(), 0);
  assert.deepEqual(ada.troubles, []);
});

test("the start page links to all examples, and its command works", async (t) => {
  const { host, browser } = await start(t);
  for (const [name, options] of [
    ["start-light", { ...desktop, colorScheme: "light" }],
    ["start-dark", { ...desktop, colorScheme: "dark" }],
    ["start-phone", phone],
  ]) {
    const page = await openWindow(browser, host.url, options);
    await page.getByRole("link", { name: "Ada" }).waitFor();
    await picture(page, name);
    assert.deepEqual(page.troubles, []);
  }
  const page = await openWindow(browser, host.url);
  assert.equal(await page.getByRole("heading", { name: "Game" }).count(), 0, "only examples with a plugin are shown");
  const open = async (name) => {
    const [opened] = await Promise.all([page.context().waitForEvent("page"), page.getByRole("link", { name }).click()]);
    return opened;
  };
  const chat = await open("Open the chat");
  await chat.getByLabel("Your name").fill("Ada");
  await chat.keyboard.press("Enter");
  await chat.locator("#conversation[data-state=joined]").waitFor();
  const ada = await open("Ada");
  await ada.getByRole("heading", { name: "All quiet" }).waitFor();
  await picture(ada, "notifications-empty");

  // Both pages show the same command. This removes the shell's quotes.
  for (const command of [await page.locator("#send").textContent(), await ada.locator("#command").textContent()]) {
    const [, topic, payload] = /^bennu send (\S+) notify '(.*)'$/.exec(command);
    await host.bennu("send", topic, "notify", payload);
  }
  await counts(ada, 2);
  assert.equal(await list(ada), "Hello Hello, Ada");
});

/**
 * The stand-ins of a window. Chromium would ask the push service of its vendor for a subscription, over the network; and without a user
 * interface it has no notifications, so it always denies the permission. Everything else is the browser's own.
 */
const standIns = ({ endpoint, keys, permission }) => {
  const subscription = (options) => ({
    endpoint,
    options,
    toJSON: () => ({ endpoint, expirationTime: null, keys }),
    unsubscribe: async () => localStorage.removeItem("subscription") ?? true,
  });
  PushManager.prototype.subscribe = async (options) => {
    localStorage.setItem("subscription", JSON.stringify(options));
    return subscription(options);
  };
  PushManager.prototype.getSubscription = async () => {
    const options = JSON.parse(localStorage.getItem("subscription"));
    return options && subscription(options);
  };
  Object.defineProperty(Notification, "permission", { get: () => permission });
  Notification.requestPermission = async () => permission;
};

/** Opens the page of a user in a browser that the host can push messages to, if the user permits it. */
async function openPushable({ browser, link, service }, user, permission = "granted", options = { ...desktop, colorScheme: "light" }) {
  const context = await browser.newContext({ reducedMotion: "reduce", ...options });
  context.setDefaultTimeout(DEADLINE);
  await context.addInitScript(standIns, { ...service.subscription, permission });
  const page = await context.newPage();
  await page.goto(await link(user));
  return page;
}

/** The service worker of a window, which notes what it shows and opens, because only a desktop can show and open it. */
async function openWorker(page) {
  const devtools = await page.context().newCDPSession(page);
  const registered = new Promise((resolve) =>
    devtools.on("ServiceWorker.workerRegistrationUpdated", ({ registrations: [first] }) => first && resolve(first.registrationId)),
  );
  await devtools.send("ServiceWorker.enable");
  const [registrationId, { origin }] = [await registered, new URL(page.url())];
  const [worker] = page.context().serviceWorkers();
  await worker.evaluate(() => {
    self.noted = [];
    registration.showNotification = async (title, { body, tag }) => noted.push(["show", title, body, tag]);
    clients.openWindow = async (url) => noted.push(["open", url]);
    WindowClient.prototype.focus = async function () { noted.push(["focus", this.url]); };
  });
  return {
    noted: () => worker.evaluate(() => noted.splice(0)),
    /** A message comes from the push service. */
    deliver: (data) => devtools.send("ServiceWorker.deliverPushMessage", { origin, registrationId, data: JSON.stringify(data) }),
    /** The user clicks on a notification. */
    click: () =>
      worker.evaluate(async () => {
        const event = new ExtendableEvent("notificationclick");
        let done;
        event.notification = { close: () => noted.push(["close"]) };
        event.waitUntil = (promise) => { done = promise; };
        dispatchEvent(event);
        await done;
      }),
  };
}

const hasLeft = async (host) => (await (await host.api("/api/topics?prefix=user:")).json()).topics.length === 0;

test("a browser shows a notification although the page is closed, and opens the page on a click", async (t) => {
  const service = await startPushService(t);
  const { config, pushKey } = pushConfig(service.url);
  const started = { ...(await start(t, config)), service };
  const { host } = started;
  const ada = await openPushable(started, "ada");
  await ada.getByRole("button", { name: "Notify this browser" }).click();
  await ada.getByRole("button", { name: "Stop notifying" }).waitFor();
  await picture(ada, "notifications-push");
  const options = await ada.evaluate(() => JSON.parse(localStorage.getItem("subscription")));
  assert.deepEqual(options, { userVisibleOnly: true, applicationServerKey: pushKey });

  // The start page is another one, and has no socket.
  const worker = await openWorker(ada);
  await ada.goto(host.url);
  await until("the page has left", () => hasLeft(host));
  const id = await notify(host, "ada", { title: "Tea", body: "The kettle is on.", link: "/chat/" });
  await until("the push service has the message", () => service.messages.length === 1);
  const message = service.decrypted(service.messages[0].body);
  assert.deepEqual(message, { id, title: "Tea", body: "The kettle is on." });
  await worker.deliver(message);
  let noted;
  await until("the worker shows it", async () => (noted = await worker.noted()).length > 0);
  assert.deepEqual(noted, [["show", "Tea", "The kettle is on.", id]]);
  await worker.click();
  assert.deepEqual(await worker.noted(), [["close"], ["open", `${host.url}/notifications/`]]);

  // The window that it opens has no link, and yet knows its user.
  const opened = await ada.context().newPage();
  await opened.goto(`${host.url}/notifications/`);
  await counts(opened, 1);
  assert.equal(await list(opened), "Tea");
  await worker.click();
  assert.deepEqual(await worker.noted(), [["close"], ["focus", `${host.url}/notifications/`]]);

  await opened.getByRole("button", { name: "Stop notifying" }).click();
  await opened.getByRole("button", { name: "Notify this browser" }).waitFor();
  assert.equal(await opened.evaluate(() => localStorage.length), 0, "the browser keeps nothing");
  await opened.goto(host.url);
  await until("the page has left", () => hasLeft(host));
  await notify(host, "ada", { title: "unseen" });
  const { deliveries } = await (await host.api("/api/inspect")).json();
  assert.deepEqual([deliveries.all, service.messages.length], [0, 1], "nothing is pushed any more");
});

test("the page doesn't offer messages that can't come", async (t) => {
  const service = await startPushService(t);
  const plain = { ...(await start(t)), service };
  const ada = await openPushable(plain, "ada");
  await ada.getByText("Connected", { exact: true }).waitFor();
  assert.equal(await ada.locator("#pushing").isVisible(), false, "the host has no key");

  const pushing = { ...(await start(t, pushConfig(service.url).config)), service };
  const bo = await openPushable(pushing, "bo", "default");
  await bo.getByRole("button", { name: "Notify this browser" }).click();
  await until("the user has closed the question", () => bo.getByRole("button", { name: "Notify this browser" }).isEnabled());
  assert.equal(await bo.evaluate(() => localStorage.length), 0);
  const cleo = await openPushable(pushing, "cleo", "denied", { ...phone, colorScheme: "dark" });
  await cleo.getByText("You have blocked messages of this page").waitFor();
  assert.equal(await cleo.getByRole("button", { name: "Notify this browser" }).isDisabled(), true);
  await picture(cleo, "notifications-push-denied");
});
