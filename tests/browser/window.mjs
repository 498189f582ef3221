// Chromium windows for tests. Each is a separate user.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";

import { chromium } from "playwright-core";

import { DEADLINE } from "../host.mjs";

const executablePath = process.env.BENNU_CHROMIUM ?? "/usr/bin/chromium";
const pictures = process.env.BENNU_SCREENSHOTS ?? resolve(import.meta.dirname, "../../target/screenshots");

/** The settings of a desktop and of a phone. */
export const desktop = { viewport: { width: 1180, height: 780 } };
export const phone = { viewport: { width: 390, height: 800 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

/** Starts a browser, which closes when the test ends. */
export async function startBrowser(test) {
  const args = ["--disable-gpu", "--disable-quic", "--no-first-run"];
  args.push("--disable-background-networking", "--disable-component-update", "--disable-sync");
  // Chromium's sandbox doesn't work for root.
  if (process.getuid?.() === 0) args.push("--no-sandbox");
  const browser = await chromium.launch({ executablePath, args });
  test.after(() => browser.close());
  return browser;
}

/** Opens a window with its own storage. `page.troubles` collects its errors and warnings. */
export async function openWindow(browser, url, options = desktop) {
  const context = await browser.newContext({ reducedMotion: "reduce", ...options });
  context.setDefaultTimeout(DEADLINE);
  const page = await context.newPage();
  page.troubles = [];
  page.on("pageerror", (error) => page.troubles.push(String(error)));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) page.troubles.push(message.text());
  });
  await page.goto(url);
  return page;
}

/** Checks that a page isn't wider than its window. */
export async function fits(page) {
  const { width, seen } = await page.evaluate(() => ({
    width: document.documentElement.scrollWidth,
    seen: document.documentElement.clientWidth,
  }));
  assert.ok(width <= seen, `the page is ${width} wide on a screen of ${seen}`);
}

/** Saves a screenshot for people. Tests don't compare it. */
export async function picture(page, name) {
  await mkdir(pictures, { recursive: true });
  await page.screenshot({ path: join(pictures, `${name}.png`) });
}
