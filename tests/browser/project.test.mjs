// The pages of new projects in a real browser: two users next to each other.

import assert from "node:assert/strict";
import { test } from "node:test";

import { until } from "../host.mjs";
import { newProject } from "../project.mjs";
import { desktop, openWindow, phone, picture, startBrowser } from "./window.mjs";

/** Makes and serves a project, and opens its page. `panes` are the two users. */
async function start(t, options) {
  const project = await newProject(t, options);
  const host = await project.serve(t);
  const browser = await startBrowser(t);
  const open = async (settings) => {
    const page = await openWindow(browser, host.url, settings);
    await page.locator(".pane.online").nth(1).waitFor();
    return { page, panes: [page.locator(".pane").nth(0), page.locator(".pane").nth(1)] };
  };
  return { project, host, open, ...(await open({ ...desktop, colorScheme: "light" })) };
}

async function pictures({ open, page }, name) {
  await picture(page, `${name}-light`);
  const small = await open({ ...phone, colorScheme: "dark" });
  await picture(small.page, `${name}-phone-dark`);
  const { scrollWidth, innerWidth } = await small.page.evaluate(() => ({ scrollWidth: document.documentElement.scrollWidth, innerWidth }));
  assert.ok(scrollWidth <= innerWidth, `the page is ${scrollWidth} wide on a phone`);
  await small.page.close();
}

const say = async (pane, text) => {
  await pane.getByLabel("Message").fill(text);
  await pane.getByRole("button", { name: "Send" }).click();
};

test("two people chat, and the source changes under them", async (t) => {
  const started = await start(t, { template: "chat" });
  const { project, page, panes: [ada, bo] } = started;
  await say(ada, "Did you see the heron?");
  for (const pane of [ada, bo]) await pane.getByText("Did you see the heron?").waitFor();
  await bo.getByText("here: Ada, Bo").waitFor();

  await project.edit((text) => text.replace("user: socket.state.user, body }", "user: socket.state.user, body: `${body}!` }"));
  await until("the new code answers", async () => {
    await say(bo, "It is gone");
    await bo.getByText("It is gone").last().waitFor();
    return (await bo.getByText("It is gone!").count()) > 0;
  });
  await ada.getByText("It is gone!").first().waitFor();
  assert.equal(await ada.getByText("came in").count(), 1, "nobody had to join again");
  await pictures(started, "project-chat");
  assert.deepEqual(page.troubles, []);
});

test("two people vote, both see the counts, and a round ends", async (t) => {
  const started = await start(t, { template: "room" });
  const { host, page, panes: [ada, bo] } = started;
  await ada.getByRole("button", { name: "tea" }).click();
  await bo.getByRole("button", { name: "tea 1" }).click();
  for (const pane of [ada, bo]) await pane.getByRole("button", { name: "tea 2" }).waitFor();
  await bo.getByText("2 votes").waitFor();
  await bo.getByRole("button", { name: "water" }).click();
  await ada.getByRole("button", { name: "water 1" }).waitFor();
  await ada.getByRole("button", { name: "water" }).click();
  await bo.getByRole("button", { name: "water 2" }).waitFor();
  // The end of the round is due in a minute. An operator doesn't wait.
  const [schedule] = JSON.parse(await host.bennu("schedules", "--json"));
  assert.deepEqual([schedule.topic, schedule.event, schedule.state], ["poll:drinks", "end", "waiting"]);
  await host.bennu("schedules", "retry", schedule.plugin, schedule.topic, schedule.key);
  for (const pane of [ada, bo]) await pane.getByText("0 votes; water won the last round").waitFor();
  await pictures(started, "project-room");
  assert.deepEqual(page.troubles, []);
});

test("two people play, and a hit counts", async (t) => {
  const started = await start(t, { template: "game" });
  const { page, panes: [ada, bo] } = started;
  await until("a hit counts", async () => {
    await ada.locator(".target").dispatchEvent("pointerdown");
    return /Ada [1-9]/.test(await bo.locator(".note").textContent());
  });
  await pictures(started, "project-game");
  assert.deepEqual(page.troubles, []);
});

test("a note waits in an inbox until it is read", async (t) => {
  const started = await start(t, { template: "notifications" });
  const { host, page, panes: [ada, bo] } = started;
  await ada.getByLabel("A note for Bo").fill("Tea at four?");
  await ada.getByRole("button", { name: "Send" }).click();
  await bo.getByText("Tea at four?").waitFor();
  await host.bennu("send", "inbox:Ada", "notify", '{"text": "from outside"}');
  await ada.getByText("from outside").waitFor();
  await pictures(started, "project-notifications");
  await page.reload();
  await bo.getByText("Tea at four?").waitFor();
  await bo.getByRole("button", { name: "Read" }).click();
  await bo.getByText("nothing new").waitFor();
  assert.equal(await bo.getByRole("listitem").count(), 0);
  assert.deepEqual(page.troubles, []);
});
