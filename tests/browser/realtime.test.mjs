// The page of the example realtime in a real browser: two windows with the client of Supabase Realtime.

import assert from "node:assert/strict";
import { test } from "node:test";

import { startHost, until } from "../host.mjs";
import { desktop, openWindow, picture, startBrowser } from "./window.mjs";

const config = '[mounts."/realtime/v1"]\nserializer = "supabase"\n';

test("two people see each other's pointers", async (t) => {
  const host = await startHost(t, { plugins: ["realtime.ts"], page: "realtime", config });
  const browser = await startBrowser(t);
  const open = async (name, colorScheme) => {
    const page = await openWindow(browser, host.url, { ...desktop, colorScheme });
    await page.getByLabel("Your name").fill(name);
    await page.getByText("Connected").waitFor();
    await page.keyboard.press("Tab");
    return page;
  };
  const ada = await open("Ada", "light"), bo = await open("Bo", "dark");
  const people = (page) => page.locator("#people li").allTextContents();
  for (const [page, names] of [[ada, "Ada (you),Bo"], [bo, "Bo (you),Ada"]]) {
    await until("both are seen", async () => String(await people(page)) === names);
  }
  const place = async (page) => page.locator(".pointer").evaluate((pointer) => [pointer.style.left, pointer.style.top]);
  const { x, y, width, height } = await ada.locator("#pad").boundingBox();
  await ada.mouse.move(x + width / 4, y + height / 2);
  await bo.locator(".pointer", { hasText: "Ada" }).waitFor();
  assert.deepEqual((await place(bo)).map(parseFloat).map(Math.round), [25, 50]);
  await picture(bo, "realtime-dark");
  await ada.close();
  await until("Ada is gone", async () => String(await people(bo)) === "Bo (you)");
  assert.equal(await bo.locator(".pointer").count(), 0);
  assert.deepEqual(bo.troubles, []);
});
