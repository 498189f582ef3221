// Measures the board's page on a phone whose processor is throttled four times: the first drawing of a large board, and the frames
// while strokes arrive.
//
// The tests run a short measurement, which checks counts and prints the times. `cargo xtask bench board` runs this file, which ends
// with 1 if a target isn't met. With `--quick` the measurement is short, and its times don't matter.

import { pathToFileURL } from "node:url";

import { until } from "../host.mjs";
import { add, start, strokes, take } from "./board.mjs";
import { openWindow, phone, picture } from "./window.mjs";

const STROKES = 10_000;
/** The strokes that arrive in a second. */
const PACE = 10;
/** How many times slower the page's processor is. */
const THROTTLED = 4;
/** In milliseconds. */
const TARGETS = { first: 1_000, p95: 33 };

/**
 * Opens a large board on a phone, and lets strokes arrive.
 *
 * @param {import("node:test").TestContext} t or an object with its `after`
 * @param {number} seconds
 * @returns {Promise<{first: number, frames: number[], drawn: number, arrived: number}>} the time from the navigation to the end of
 *   the first drawing, and the times from each frame to the next, in order of their length; and the numbers of strokes
 */
export async function measure(t, seconds) {
  const { host, browser, open } = await start(t);
  const more = strokes(7);
  await add(host, "large", take(more, STROKES));
  // The first one that joins owns the board and has the links. The large board isn't drawn twice at the same time.
  const owner = await open("Ada", "large");
  const link = await owner.evaluate(async () => {
    document.getElementById("share").click();
    while (!document.getElementById("links").open) await new Promise((resolve) => setTimeout(resolve, 10));
    return document.getElementById("look-link").value;
  });
  await owner.context().close();

  const page = await openWindow(browser, "about:blank", { ...phone, colorScheme: "light" });
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Emulation.setCPUThrottlingRate", { rate: THROTTLED });
  await page.goto(link);
  await page.locator(`#house[data-drawn="${STROKES}"]`).waitFor({ state: "attached" });
  const first = await page.evaluate(() => performance.getEntriesByName("board-drawn")[0].startTime);
  await picture(page, "board-large-phone-light");

  const arriving = take(more, PACE * seconds);
  const frames = page.evaluate(watchFrames, seconds * 1_000);
  const begin = performance.now();
  for (const [number, stroke] of arriving.entries()) {
    await new Promise((resolve) => setTimeout(resolve, begin + (number * 1_000) / PACE - performance.now()));
    await add(host, "large", [stroke]);
  }
  const times = (await frames).sort((one, other) => one - other);
  await until("all strokes are drawn", async () => (await drawn(page)) === STROKES + arriving.length);
  return { first, frames: times, drawn: await drawn(page), arrived: STROKES + arriving.length };
}

const drawn = async (page) => Number(await page.locator("#house").getAttribute("data-drawn"));

/** Runs in the page. */
function watchFrames(duration) {
  return new Promise((resolve) => {
    const times = [];
    let last;
    const end = performance.now() + duration;
    const watch = (now) => {
      if (last !== undefined) times.push(now - last);
      last = now;
      if (now < end) requestAnimationFrame(watch);
      else resolve(times);
    };
    requestAnimationFrame(watch);
  });
}

/** The time that a part of the sorted times doesn't exceed. */
export const percentile = (times, part) => times[Math.min(Math.floor(times.length * part), times.length - 1)];

/** The measured values as text. */
export function report({ first, frames }) {
  const [p50, p95, p99] = [0.5, 0.95, 0.99].map((part) => percentile(frames, part).toFixed(1));
  return `first drawing ${first.toFixed(0)} ms, frames p50 ${p50} ms, p95 ${p95} ms, p99 ${p99} ms (${frames.length} frames)`;
}

async function bench({ seconds, isGate }) {
  const ends = [];
  let measured;
  try {
    measured = await measure({ after: (end) => ends.unshift(end) }, seconds);
  } finally {
    for (const end of ends) await end();
  }
  const values = { first: measured.first, p95: percentile(measured.frames, 0.95) };
  console.log(`${STROKES} strokes, ${PACE} more a second, a phone throttled ${THROTTLED} times: ${report(measured)}`);
  console.log("row | ms | target | met");
  console.log("--- | --- | --- | ---");
  const names = { first: "first drawing", p95: "frame, p95" };
  for (const [row, target] of Object.entries(TARGETS)) {
    const isMet = values[row] < target;
    if (!isMet && isGate) process.exitCode = 1;
    console.log(`${names[row]} | ${values[row].toFixed(1)} | ${target} | ${isMet ? "yes" : "NO"}`);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const isQuick = process.argv.includes("--quick");
  await bench({ seconds: isQuick ? 2 : 20, isGate: !isQuick });
}
