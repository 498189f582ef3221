// The games' page in a real browser: a match and a round, with several windows.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { Socket } from "phoenix";
import WebSocket from "ws";

import { startDemo } from "../demo.mjs";
import { plugin, startHost, until } from "../host.mjs";
import { desktop, fits, openWindow, phone, picture, startBrowser } from "./window.mjs";

/** Starts a host with the games and their page, and a browser. */
async function start(t) {
  const host = await startHost(t, { plugins: ["game"], page: "game" });
  const browser = await startBrowser(t);
  /** Opens a window for a user, at a game or in the lobby. */
  const open = async (name, topic = "", options = desktop) => {
    const page = await openWindow(browser, `${host.url}/#${topic}`, options);
    await page.getByLabel("Your name").fill(name);
    await page.getByRole("button", { name: "Step in" }).click();
    await page.getByText("Connected", { exact: true }).waitFor();
    return page;
  };
  return { host, open };
}

const says = (page, text) => page.locator("#status").getByText(text).waitFor();
const column = (page, number) => page.getByRole("button", { name: `Column ${number}:` });
const begin = (page, kind) => page.getByRole("button", { name: `New game of ${kind}` }).click();

/** The players that a page shows: `Ada 1`, with `away` if the page shows it. */
const players = (page) =>
  page.locator("#players li").evaluateAll((items) =>
    items.map((item) => [...item.children].map((part) => part.textContent).filter(Boolean).join(" ")).join(", "),
  );
const plays = (page, who) => until(`it shows ${who}`, async () => (await players(page)) === who);

/** Drops a disc, and waits until all pages show it. */
async function drop(page, number, pages) {
  await says(page, "Your turn");
  const before = (await column(page, number).getAttribute("aria-label")).match(/sun|moon/g)?.length ?? 0;
  await column(page, number).click();
  for (const each of pages) {
    const label = column(each, number);
    await until("the disc is seen", async () => {
      return ((await label.getAttribute("aria-label")).match(/sun|moon/g)?.length ?? 0) === before + 1;
    });
  }
}

/** Loads a build with other rules: three in a row win, and a round lasts three seconds. */
async function reload(host) {
  await host.replace("game", await readFile(plugin("variants/game-v2")));
  await until("the new build serves", async () => /"generation":\s*2/.test(await host.bennu("inspect", "--json")));
}

/** A user without a window takes a seat until the test ends. */
function sit(t, host, topic, name) {
  const socket = new Socket(host.socketUrl, { transport: WebSocket });
  socket.connect();
  t.after(() => socket.disconnect());
  const channel = socket.channel(topic, { name, key: `${name}'s long secret` });
  return new Promise((resolve, reject) => channel.join().receive("ok", resolve).receive("error", reject));
}

test("a match is played to its end, with a lost connection and new rules during the match", async (t) => {
  const { host, open } = await start(t);
  const ada = await open("Ada", "", { ...desktop, colorScheme: "light" });
  await ada.getByText("Nobody plays just now").waitFor();
  await picture(ada, "game-lobby-empty-light");
  await begin(ada, "four");
  await says(ada, "Waiting for somebody to play with. Four in a row wins.");
  const topic = new URL(ada.url()).hash.slice(1);
  const bo = await open("Bo", topic, { ...desktop, colorScheme: "dark" });
  const cleo = await open("Cleo", topic, { ...phone, colorScheme: "light" });
  const all = [ada, bo, cleo];
  await cleo.getByText("You are watching").waitFor();
  await plays(cleo, "Ada 0, Bo 0");
  await plays(bo, "Ada 0, Bo (you) 0");

  for (const [page, number] of [[ada, 4], [bo, 4], [ada, 3], [bo, 5]]) await drop(page, number, all);
  await says(bo, "Ada's turn");
  for (const page of [bo, cleo]) await column(page, 1).click({ force: true });
  await picture(ada, "game-four-light");
  await picture(bo, "game-four-dark");

  // Bo's window closes and opens again, and has its seat and state.
  await bo.goto("about:blank");
  await plays(cleo, "Ada 0, Bo away 0");
  await drop(ada, 7, [ada, cleo]);
  await picture(cleo, "game-four-phone-light");
  await bo.goBack();
  await plays(cleo, "Ada 0, Bo 0");
  await says(bo, "Your turn");
  assert.equal(await column(bo, 4).getAttribute("aria-label"), "Column 4: sun, moon");
  await drop(bo, 7, all);
  assert.equal(await column(ada, 7).getAttribute("aria-label"), "Column 7: sun, moon");

  // With the new rules, three in a row win. The discs and all users stay.
  await reload(host);
  await drop(ada, 6, all);
  for (const page of [bo, cleo]) await page.getByText("Three in a row wins.").waitFor();
  await drop(bo, 6, all);
  await drop(ada, 2, all);
  for (const page of [bo, cleo]) await says(page, "Ada has won.");
  await says(ada, "You have won.");
  assert.equal(await cleo.locator(".cell.won").count(), 3);
  await plays(cleo, "Ada 1, Bo 0");
  await picture(bo, "game-four-over-dark");

  await ada.getByRole("button", { name: "Play again" }).click();
  await says(ada, "Waiting for Bo");
  await says(bo, "Ada would like to play again.");
  assert.equal(await cleo.getByRole("button", { name: "Play again" }).count(), 0);
  await bo.getByRole("button", { name: "Play again" }).click();
  await says(bo, "Your turn. Three in a row wins.");
  assert.equal(await column(cleo, 1).getAttribute("aria-label"), "Column 1: empty");
  await bo.getByRole("button", { name: "Resign" }).click();
  await says(cleo, "Ada has won: the other one gave up.");
  await fits(cleo);
  assert.deepEqual([...ada.troubles, ...bo.troubles, ...cleo.troubles], []);
});

test("players and watchers see the runners move", async (t) => {
  const { host, open } = await start(t);
  const ada = await open("Ada", "arena:night", { ...desktop, colorScheme: "dark" });
  await says(ada, "Waiting for somebody to play with.");
  const bo = await open("Bo", "arena:night", { ...phone, colorScheme: "dark" });
  await says(bo, "Get ready");
  for (const name of ["Dan", "Eve", "Fay", "Gil", "Hal", "Ida"]) await sit(t, host, "arena:night", name);
  const cleo = await open("Cleo", "arena:night", { ...desktop, colorScheme: "light" });
  await cleo.getByText("You are watching").waitFor();
  await says(bo, "Catch the lights!");
  await says(cleo, "The round has started.");
  await cleo.locator("#how").getByText("Only those who play can run.").waitFor();

  /** The position at which the page's canvas draws a runner. */
  const at = (page, name) => page.locator("canvas").evaluate((canvas, name) => canvas.runners?.[name], name);
  const before = await at(cleo, "Ada");
  await ada.keyboard.down("KeyS");
  for (const page of [ada, bo, cleo]) await until("Ada runs down", async () => (await at(page, "Ada")).y > before.y + 60);
  await ada.keyboard.up("KeyS");
  const box = await bo.locator("#scene").boundingBox();
  const from = await at(cleo, "Bo");
  await bo.mouse.move(box.x + 150, box.y + 300);
  await bo.mouse.down();
  await bo.mouse.move(box.x + 150, box.y + 220);
  for (const page of [ada, bo, cleo]) await until("Bo runs up", async () => (await at(page, "Bo")).y < from.y - 60);
  await picture(ada, "game-arena-dark");
  await picture(bo, "game-arena-phone-dark");
  await bo.mouse.up();
  await fits(bo);

  const still = await at(cleo, "Bo");
  await bo.goto("about:blank");
  await until("Bo is away", async () => (await players(cleo)).includes("Bo away"));
  await picture(cleo, "game-arena-light");
  await bo.goBack();
  await until("Bo is back", async () => !(await players(cleo)).includes("Bo away"));
  await until("Bo is where it was", async () => Math.abs((await at(bo, "Bo"))?.x - still.x) < 2);
  await ada.getByRole("link", { name: "Lobby" }).click();
  await until("Ada is gone", async () => !(await players(cleo)).includes("Ada"));
  await cleo.getByRole("button", { name: "Take the free seat" }).click();
  await until("Cleo plays", async () => (await players(cleo)).includes("Cleo (you)"));
  assert.deepEqual([...ada.troubles, ...bo.troubles, ...cleo.troubles], []);
});

test("a round ends, and the next begins when all players agree", async (t) => {
  const { host, open } = await start(t);
  const ada = await open("Ada", "arena:night", { ...desktop, colorScheme: "light" });
  await says(ada, "Waiting for somebody to play with.");
  await reload(host);
  const bo = await open("Bo", "arena:night", { ...phone, colorScheme: "light" });
  await says(bo, "The last ten seconds!");
  for (const page of [ada, bo]) await says(page, /caught/);
  await picture(bo, "game-arena-over-phone-light");
  await ada.getByRole("button", { name: "Play again" }).click();
  await says(ada, "Waiting for Bo");
  await says(bo, "Ada would like to play again.");
  await picture(ada, "game-arena-over-light");
  await bo.getByRole("button", { name: "Play again" }).click();
  for (const page of [ada, bo]) await says(page, "Get ready");
  await plays(ada, "Ada (you) 0, Bo 0");
  assert.deepEqual([...ada.troubles, ...bo.troubles], []);
});

test("the lobby lists games, and removes ended games", async (t) => {
  const { host, open } = await start(t);
  const ada = await open("Ada", "four:reeds");
  const bo = await open("A name of four and twenty", "arena:night");
  const cleo = await open("Cleo", "", { ...phone, colorScheme: "dark" });
  const entry = (words) => cleo.locator("#games").getByRole("link").filter({ hasText: words });
  await entry("Ada").getByText(/Waiting$/).waitFor();
  await entry("A name of four and twent").waitFor();
  await picture(cleo, "game-lobby-phone-dark");
  await fits(cleo);
  const dan = await open("Dan", "", { ...desktop, colorScheme: "light" });
  await picture(dan, "game-lobby-light");
  await dan.getByRole("link", { name: "Ada" }).click();
  await says(dan, "Ada's turn");
  await entry("Ada, Dan").getByText("Being played").waitFor();
  await bo.close();
  await until("the ended game is removed from the list", async () => (await cleo.locator("#games li").count()) === 1);

  // The page asks for confirmation before a player leaves a match.
  await dan.getByRole("link", { name: "Lobby" }).click();
  await picture(dan, "game-leave-light");
  await dan.keyboard.press("Escape");
  await says(dan, "Ada's turn");
  await dan.getByRole("link", { name: "Lobby" }).click();
  await dan.getByRole("dialog").getByRole("button", { name: "Leave" }).click();
  await says(ada, "You are alone here.");
  await dan.getByRole("heading", { name: "What shall we play?" }).waitFor();

  // The board stays visible while the host is down.
  await host.stop();
  await ada.locator("#lost").getByText("Reconnecting").waitFor();
  await picture(ada, "game-reconnecting-light");
  assert.equal(await ada.locator(".board").isVisible(), true);
  await host.start();
  await says(ada, "Waiting for somebody to play with.");
  await ada.goto(`${host.url}/#four:no such game`);
  await ada.getByRole("heading", { name: "You can't join this game" }).waitFor();
  await ada.getByText("A game's name has 1 to 24 letters, digits and hyphens.").waitFor();
});

test("the page describes a lost connection correctly to players and to watchers", async (t) => {
  const { host, open } = await start(t);
  const ada = await open("Ada", "four:reeds", { ...desktop, colorScheme: "light" });
  await says(ada, "Waiting for somebody to play with.");
  assert.equal(await ada.locator("#how").textContent(), "", "a player who is alone can't tap anything");
  const bo = await open("Bo", "four:reeds");
  const cleo = await open("Cleo", "four:reeds", { ...phone, colorScheme: "light" });
  await cleo.getByText("You are watching").waitFor();
  await drop(ada, 4, [ada, bo, cleo]);
  for (const page of [ada, bo]) await page.locator("#how").getByText("On your turn, tap a column").waitFor();
  await cleo.locator("#how").getByText("Only the two who play can drop discs.").waitFor();
  await picture(cleo, "game-four-watching-phone-light");

  // After a kill, the page can't know whether the host still runs.
  await host.kill();
  for (const page of [ada, bo]) {
    await page.locator("#lost").getByText("If the game still runs, your seat is kept for twenty seconds.").waitFor();
    await says(page, "This is the state from before the connection was lost.");
    assert.equal(await page.getByRole("button", { name: "Resign" }).isVisible(), false);
  }
  await cleo.locator("#lost").getByText("If the game still runs, you will continue to watch.").waitFor();
  assert.equal(await cleo.getByText("You are watching").isVisible(), false);
  await picture(ada, "game-lost-light");

  // The restarted host doesn't have the match.
  await host.start();
  for (const page of [ada, bo]) await page.getByText("The server has restarted, and this is a new game.").waitFor();
  await picture(ada, "game-anew-light");
  for (const page of [ada, bo, cleo]) await page.locator("#lost").waitFor({ state: "hidden" });

  // A host that shuts down in order tells its clients.
  await host.stop();
  for (const page of [ada, bo, cleo]) {
    await page.locator("#lost").getByText("The server is restarting. This game ends with it.").waitFor();
  }
  await picture(ada, "game-restarting-light");
});

test("a match can be played without a mouse", async (t) => {
  const { open } = await start(t);
  const ada = await open("Ada", "four:keys");
  const bo = await open("Bo", "four:keys");
  await says(ada, "Your turn");
  while (!(await ada.evaluate(() => document.activeElement.matches(".column")))) await ada.keyboard.press("Tab");
  await ada.keyboard.press("ArrowRight");
  await picture(ada, "game-four-keyboard");
  await ada.keyboard.press("Enter");
  await says(bo, "Your turn");
  assert.equal(await column(bo, 5).getAttribute("aria-label"), "Column 5: sun");
  assert.equal(await ada.evaluate(() => document.activeElement.ariaLabel), "Column 5: sun", "the focus isn't lost");
});

test("the start page links to the games, and names the rules to change", async (t) => {
  const host = await startDemo(t, { plugins: ["game"] });
  const page = await openWindow(await startBrowser(t), host.url);
  await page.getByText("guest-examples/game/src/four/board.rs").waitFor();
  await picture(page, "start-game");
  const opened = page.waitForEvent("popup");
  await page.getByRole("link", { name: "Open the games" }).click();
  await (await opened).getByRole("heading", { name: "Fancy a game?" }).waitFor();
});
