// The board's page, for tests: boards with strokes, the actions of users, and what they see.

import { encode } from "../../guest-examples/board/page/line.js";
import { startHost, until } from "../host.mjs";
import { desktop, openWindow, startBrowser } from "./window.mjs";

/** The secret that signs the links. The host takes it from the environment. */
process.env.BENNU_SECRET_KEY_BASE ??= "the tests' own secret, which protects nothing";
const config = `secret_key_base = { env = "BENNU_SECRET_KEY_BASE" }
[mounts."/socket"]
auth = "none"
`;

/** Starts a host with boards and their page, and a browser. `more` is added to the configuration. */
export async function start(t, more = "") {
  const host = await startHost(t, { plugins: ["board"], page: "board", config: config + more });
  const browser = await startBrowser(t);
  /** Opens a window for a user, at a board or by a link. */
  const open = async (name, place = "", options = desktop) => {
    const page = await openWindow(browser, place.startsWith("http") ? place : `${host.url}/#${place}`, options);
    if (name) {
      await page.getByRole("textbox", { name: "Your name" }).fill(name);
      await page.getByRole("button", { name: "Step in" }).click();
    }
    await joined(page);
    return page;
  };
  return { host, browser, open };
}

/** Waits until a page has joined a board and drawn it. */
export async function joined(page) {
  await page.locator("[data-connection=connected] #house[data-drawn]").waitFor({ state: "attached" });
}

/** Waits until the page has drawn this number of strokes. */
export const shows = (page, count) =>
  until(`${count} strokes are drawn`, async () => (await page.locator("#house").getAttribute("data-drawn")) === String(count));

/** Draws a line with the mouse, through points of the window. */
export async function draw(page, points) {
  await page.mouse.move(...points[0]);
  await page.mouse.down();
  for (const point of points.slice(1)) await page.mouse.move(...point);
  await page.mouse.up();
}

/** Copies the two links to a board. */
export async function links(page) {
  await page.getByRole("button", { name: "Share" }).click();
  const link = (label) => page.getByRole("textbox", { name: label }).inputValue();
  const both = { draw: await link("To draw together"), look: await link("To watch only") };
  await page.getByRole("button", { name: "Close" }).click();
  return both;
}

/** The color at a point of the window, as drawn on the paper: red, green, blue and alpha. */
export const colorAt = (page, x, y) =>
  page.evaluate(
    ([x, y]) => {
      const paper = document.querySelector(".layer:not(#over):not([hidden])");
      const ratio = Math.min(devicePixelRatio, 2);
      // A copy, because a canvas that is read becomes slower.
      const copy = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
      copy.drawImage(paper, Math.round(x * ratio), Math.round(y * ratio), 1, 1, 0, 0, 1, 1);
      return [...copy.getImageData(0, 0, 1, 1).data];
    },
    [x, y],
  );

/** The cursors of others that a page shows: the place on the board of each name. */
export const cursors = (page) => page.locator("#over").evaluate((over) => over.cursors ?? {});

/** Random strokes of 20 points, the same ones for the same seed. Together they have about 1.2 MB if there are 10,000. */
export function* strokes(seed) {
  let last = seed;
  const random = () => (last = (Math.imul(last, 1_103_515_245) + 12_345) & 0x7fffffff) / 0x80000000;
  for (;;) {
    let [x, y, direction] = [4_000 + random() * 8_000, 4_000 + random() * 8_000, random() * 7];
    const points = [];
    for (let point = 0; point < 20; point += 1) {
      points.push(Math.round(x), Math.round(y));
      direction += (random() - 0.5) * 1.2;
      [x, y] = [x + Math.cos(direction) * 24, y + Math.sin(direction) * 24];
    }
    yield { color: Math.floor(random() * 8), width: Math.floor(random() ** 3 * 4), line: encode(points) };
  }
}

/** Takes the next `count` strokes of a generator. */
export const take = (from, count) => Array.from({ length: count }, () => from.next().value);

/** Draws strokes as another program does: with messages to the topic. */
export async function add(host, board, some) {
  for (let from = 0; from < some.length; from += 250) {
    const payload = { strokes: some.slice(from, from + 250) };
    const sent = await host.api("/api/send", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ topic: `board:${board}`, event: "add", payload }),
    });
    if (!sent.ok) throw new Error(`the host answered ${sent.status}: ${await sent.text()}`);
  }
}
