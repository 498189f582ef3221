// The board's page in a real browser, with several windows.

import assert from "node:assert/strict";
import { test } from "node:test";

import { decode, encode } from "../../guest-examples/board/page/line.js";
import { startDemo } from "../demo.mjs";
import { until } from "../host.mjs";
import { add, colorAt, cursors, draw, joined, links, shows, start, strokes, take } from "./board.mjs";
import { measure, report } from "./board_speed.mjs";
import { desktop, fits, openWindow, phone, picture, startBrowser } from "./window.mjs";

const RED = [213, 67, 59, 255];
const NOTHING = [0, 0, 0, 0];
const pick = (page, name) => page.getByRole("radio", { name, exact: true }).check({ force: true });
const undo = (page) => page.getByRole("button", { name: "Undo" }).click();
const circle = (x, y, radius) =>
  Array.from({ length: 25 }, (_, at) => [x + radius * Math.cos((at * Math.PI) / 12), y + radius * Math.sin((at * Math.PI) / 12)]);
const wave = (x, y, length) => Array.from({ length: 17 }, (_, at) => [x + (at * length) / 16, y + 24 * Math.sin((at * 3) / 4)]);

/** Waits until the paper has a color at a point of the window. The edge of a line is a mixture of colors. */
const colored = (page, point, color) =>
  until(`the color is ${color}`, async () => (await colorAt(page, ...point)).every((part, at) => Math.abs(part - color[at]) < 8));

test("points are the same after encoding and decoding, also in pieces", () => {
  const points = [0, 16_383, 15, 16_368, 16_383, 0, 8_000, 8_001, 8_000, 8_001, 7_489, 8_512];
  assert.deepEqual(decode(encode(points)), points);
  const first = decode(encode(points.slice(0, 4)));
  assert.deepEqual(first.concat(decode(encode(points, 4), first)), points);
  assert.equal(encode([15, 0, 0, 15]), "eAfe", "a distance of up to 15 is one character");
});

test("two people draw on a board, and see each other's strokes and cursors", async (t) => {
  const { open } = await start(t);
  const ada = await open("Ada", "", { ...desktop, colorScheme: "light" });
  await ada.getByText("An empty board").waitFor();
  await picture(ada, "board-empty-light");
  const { draw: link } = await links(ada);
  const bo = await open("Bo", link, { ...desktop, colorScheme: "light" });
  await ada.locator("#people").getByText("Bo", { exact: true }).waitFor({ state: "attached" });

  await pick(ada, "Red");
  await pick(ada, "Thick");
  await draw(ada, wave(300, 300, 240));
  for (const page of [ada, bo]) {
    await shows(page, 1);
    await colored(page, [300, 300], RED);
    assert.equal(await page.getByText("An empty board").isVisible(), false);
  }
  // Bo sees a stroke while Ada draws it.
  await ada.mouse.move(300, 420);
  await ada.mouse.down();
  await ada.mouse.move(420, 440, { steps: 4 });
  await shows(bo, 2);
  await until("Bo sees Ada's cursor", async () => "Ada" in (await cursors(bo)));
  const before = (await cursors(bo)).Ada;
  await ada.mouse.move(560, 420, { steps: 4 });
  await until("the cursor moves", async () => (await cursors(bo)).Ada[0] > before[0] + 200);
  assert.deepEqual(await cursors(ada), {}, "nobody sees a cursor of their own");
  await colored(bo, [500, 429], RED);
  await ada.mouse.up();

  await pick(bo, "Blue");
  await draw(bo, circle(760, 380, 70));
  await pick(bo, "Violet");
  await draw(bo, wave(680, 500, 200));
  for (const page of [ada, bo]) await shows(page, 4);
  await bo.mouse.move(700, 330);
  await until("Ada sees Bo's cursor", async () => "Bo" in (await cursors(ada)));
  await picture(ada, "board-light");

  // Undo removes the last stroke of this user only, with all of its pieces.
  await undo(ada);
  for (const page of [ada, bo]) {
    await shows(page, 3);
    await colored(page, [500, 429], NOTHING);
    await colored(page, [300, 300], RED);
  }
  await ada.locator("#stage").press("Control+z");
  for (const page of [ada, bo]) await shows(page, 2);
  assert.equal(await ada.getByRole("button", { name: "Undo" }).isDisabled(), true, "the other strokes are Bo's");
  await bo.close();
  await until("Bo's cursor is gone", async () => !("Bo" in (await cursors(ada))));
  assert.deepEqual([...ada.troubles, ...bo.troubles], []);
});

test("a spectator sees everything and can't draw, and others need a link", async (t) => {
  const { host, browser, open } = await start(t);
  const ada = await open("Ada", "reeds");
  await draw(ada, wave(300, 300, 240));
  const { look } = await links(ada);
  const eyes = await open("", look, { ...phone, colorScheme: "dark" });
  await shows(eyes, 1);
  await eyes.getByText("You are watching this board").waitFor();
  await ada.getByText("1 watching").waitFor();
  assert.equal(await eyes.getByRole("toolbar", { name: "Tools" }).isVisible(), false);
  await draw(eyes, [[100, 300], [200, 400]]);
  await draw(ada, wave(300, 420, 240));
  for (const page of [ada, eyes]) await shows(page, 2);
  await until("the spectator sees Ada's cursor", async () => "Ada" in (await cursors(eyes)));
  assert.deepEqual(await cursors(ada), {}, "a spectator has no cursor");
  await picture(eyes, "board-watching-phone-dark");
  await eyes.getByRole("button", { name: "Share" }).click();
  assert.equal(await eyes.getByRole("textbox", { name: "To watch only" }).inputValue(), eyes.url());
  assert.equal(await eyes.getByRole("textbox", { name: "To draw together" }).isVisible(), false);

  const cleo = await openWindow(browser, `${host.url}/#reeds`);
  await cleo.getByRole("textbox", { name: "Your name" }).fill("Cleo");
  await cleo.keyboard.press("Enter");
  await cleo.getByRole("heading", { name: "You can't open this board" }).waitFor();
  await cleo.getByText("This board belongs to somebody else: ask for a link.").waitFor();
  await picture(cleo, "board-refused");
  assert.deepEqual([...ada.troubles, ...eyes.troubles], []);
});

test("a board survives a reload of its page and a restart of the host", async (t) => {
  const { host, open } = await start(t);
  const ada = await open("Ada", "reeds", { ...desktop, colorScheme: "dark" });
  await pick(ada, "Orange");
  await draw(ada, circle(590, 350, 90));
  await draw(ada, wave(480, 500, 220));
  await shows(ada, 2);
  await picture(ada, "board-dark");
  await ada.reload();
  await joined(ada);
  await shows(ada, 2);

  await host.stop();
  await ada.getByText("Reconnecting").waitFor();
  await draw(ada, wave(480, 300, 220));
  assert.equal(await ada.getByRole("button", { name: "Undo" }).isDisabled(), true);
  await picture(ada, "board-reconnecting-dark");
  await host.start();
  await joined(ada);
  await shows(ada, 2);
  // She is still the owner, and her strokes are still hers.
  await undo(ada);
  await shows(ada, 1);
  await ada.getByRole("button", { name: "Clear the board" }).click();
  await picture(ada, "board-clear-dark");
  await ada.getByRole("dialog").getByRole("button", { name: "Clear the board" }).click();
  await shows(ada, 0);
  await ada.getByText("Ada has cleared the board.").waitFor();
  await ada.getByText("An empty board").waitFor();
});

test("a stroke that is being drawn when the connection is lost is complete afterwards", async (t) => {
  const { host, open } = await start(t);
  const ada = await open("Ada", "reeds");
  await pick(ada, "Red");
  await pick(ada, "Thick");
  await ada.mouse.move(300, 300);
  await ada.mouse.down();
  await ada.mouse.move(400, 300, { steps: 5 });
  await shows(ada, 1);
  await host.kill();
  await ada.mouse.move(500, 300, { steps: 5 });
  await ada.mouse.up();
  await ada.getByText("Reconnecting").waitFor();
  await host.start();
  await joined(ada);
  await colored(ada, [390, 300], RED);
  await until("the whole stroke is on the paper", async () => !(await ada.getByRole("button", { name: "Undo" }).isDisabled()));
  await shows(ada, 1);
});

test("a full board is explained, and an undo makes room", async (t) => {
  const { open } = await start(t, "[plugins.board]\nconfig = { strokes = 2 }\n");
  const ada = await open("Ada", "reeds");
  for (const y of [200, 300, 400]) await draw(ada, wave(300, y, 200));
  await ada.getByText("The board is full.").waitFor();
  await shows(ada, 2);
  await picture(ada, "board-full");
  await undo(ada);
  await shows(ada, 1);
  await draw(ada, wave(300, 500, 200));
  await shows(ada, 2);
});

test("the page fits a phone: one finger draws, and two fingers move and zoom", async (t) => {
  const { open } = await start(t);
  const ada = await open("Ada", "reeds", { ...phone, colorScheme: "dark" });
  const devtools = await ada.context().newCDPSession(ada);
  const touch = (type, ...points) =>
    devtools.send("Input.dispatchTouchEvent", { type, touchPoints: points.map(([x, y], id) => ({ x, y, id })) });
  await fits(ada);
  await pick(ada, "Green");
  await touch("touchStart", [80, 250]);
  for (const point of circle(180, 250, 90)) await touch("touchMove", point);
  await touch("touchEnd");
  await shows(ada, 1);

  await touch("touchStart", [150, 300]);
  await touch("touchStart", [150, 300], [250, 300]);
  for (const spread of [10, 30, 50]) await touch("touchMove", [150 - spread, 300], [250 + spread, 300]);
  await touch("touchEnd");
  assert.equal(await ada.locator("#percent").textContent(), "200 %");
  await ada.getByRole("button", { name: "Show everything" }).click();
  await shows(ada, 1);
  await pick(ada, "Yellow");
  await draw(ada, wave(90, 480, 220));
  await shows(ada, 2);
  await picture(ada, "board-phone-dark");

  const { draw: link } = await links(ada);
  const narrow = { ...phone, viewport: { width: 320, height: 640 }, colorScheme: "light" };
  const bo = await open("A name of four and twenty", link, narrow);
  await shows(bo, 2);
  await fits(bo);
  await picture(bo, "board-narrow-light");
  await bo.getByRole("button", { name: "Share" }).click();
  await bo.getByRole("dialog").waitFor();
  await fits(bo);
  await picture(bo, "board-share-narrow-light");
  assert.deepEqual([...ada.troubles, ...bo.troubles], []);
});

test("all controls work without a mouse", async (t) => {
  const { open } = await start(t);
  const ada = await open("Ada", "reeds", { ...desktop, colorScheme: "light" });
  const focused = () => ada.evaluate(() => document.activeElement.ariaLabel ?? document.activeElement.textContent);
  const percent = () => ada.locator("#percent").textContent();
  await draw(ada, wave(400, 300, 200));
  await shows(ada, 1);
  await ada.locator("#stage").focus();
  await ada.keyboard.press("+");
  assert.equal(await percent(), "125 %");
  await ada.keyboard.press("0");
  assert.equal(await percent(), "100 %");
  await ada.keyboard.press("h");
  assert.equal(await ada.getByRole("radio", { name: "Move the board" }).isChecked(), true);
  const end = async (name) => {
    for (let tabs = 0; (await focused()) !== name; tabs += 1) {
      assert.ok(tabs < 40, `${name} can be reached with the Tab key`);
      await ada.keyboard.press("Tab");
    }
  };
  await end("Zoom in");
  await ada.keyboard.press("Enter");
  assert.equal(await percent(), "125 %");
  await end("Move the board");
  await ada.keyboard.press("ArrowLeft");
  assert.equal(await focused(), "Pen");
  await end("Medium");
  await ada.keyboard.press("ArrowRight");
  assert.equal(await focused(), "Thick");
  await picture(ada, "board-keyboard-light");
  await end("Undo");
  await ada.keyboard.press("Enter");
  await shows(ada, 0);
  await end("Ink");
  await ada.keyboard.press("ArrowRight");
  assert.equal(await ada.getByRole("radio", { name: "Grey" }).isChecked(), true);
});

test("ten thousand strokes are drawn on a slow phone while more arrive", async (t) => {
  const measured = await measure(t, 2);
  t.diagnostic(report(measured));
  assert.equal(measured.drawn, measured.arrived);
  assert.ok(measured.frames.length > 0, "frames are drawn while strokes arrive");
});

test("an owner clears a large board, and what is drawn afterwards stays", async (t) => {
  const { host, open } = await start(t);
  await add(host, "large", take(strokes(3), 2_500));
  const ada = await open("Ada", "large", { ...desktop, colorScheme: "light" });
  await shows(ada, 2_500);
  await picture(ada, "board-large-light");
  await ada.getByRole("button", { name: "Clear the board" }).click();
  await ada.getByRole("dialog").getByRole("button", { name: "Clear the board" }).click();
  await shows(ada, 0);
  await draw(ada, wave(400, 300, 200));
  await shows(ada, 1);
});

test("the start page opens a new board", async (t) => {
  const host = await startDemo(t, { plugins: ["board"] });
  const page = await openWindow(await startBrowser(t), host.url);
  const opened = page.waitForEvent("popup");
  await page.getByRole("link", { name: "Open a board" }).click();
  const board = await opened;
  await board.getByRole("heading", { name: "Draw together" }).waitFor();
  await picture(board, "board-welcome");
  assert.match(new URL(board.url()).hash, /^#[0-9a-z]{12}$/);
});
