// From nothing to changed code under two open browser windows, as a person does it who has only the executable.

import assert from "node:assert/strict";

import { until } from "./host.mjs";
import { newProject } from "./project.mjs";
import { bound } from "./rounds.mjs";
import { openWindow, startBrowser } from "./browser/window.mjs";

/** A change of the template `chat` in each language: messages get an exclamation mark. */
const CHANGES = {
  ts: ["user: socket.state.user, body }", "user: socket.state.user, body: `${body}!` }"],
  rust: ['"body": body }', '"body": format!("{body}!") }'],
  go: ['"body": body}', '"body": body + "!"}'],
  python: ["user=self.user, body=body", 'user=self.user, body=body + "!"'],
};

/**
 * Makes a project, develops it, opens its page in two windows, changes its source, and waits until both windows show the change and
 * nobody had to join again. Prints the seconds that this took, which are those that a person waits. In the full tier, in which it runs
 * alone, it limits them. Returns the windows.
 */
export async function firstChange(t, lang) {
  const browser = await startBrowser(t);
  const began = performance.now();
  const project = await newProject(t, { lang });
  // The command for the compiler of Python is one of those that `bennu new` prints.
  const [, install] = /\n {2}cd app\n {2}(.+)\n {2}bennu dev\n$/.exec(project.printed) ?? [];
  if (install) await project.shell(install);
  const host = await project.develop(t);
  const windows = await Promise.all([openWindow(browser, host.url), openWindow(browser, host.url)]);
  const panes = windows.map((window) => window.locator(".pane").first());
  for (const window of windows) await window.locator(".pane.online").nth(1).waitFor({ timeout: 300_000 });
  const say = async (text) => {
    await panes[0].getByLabel("Message").fill(text);
    await panes[0].getByRole("button", { name: "Send" }).click();
    for (const pane of panes) await pane.getByText(text).last().waitFor();
  };
  await say("before");
  await project.edit((text) => text.replace(...CHANGES[lang]));
  await until("the new code answers", async () => {
    await say("after");
    return (await panes[0].getByText("after!").count()) > 0;
  });
  await panes[1].getByText("after!").first().waitFor();
  const seconds = (performance.now() - began) / 1000;
  for (const window of windows) assert.equal(await window.getByText("left", { exact: false }).count(), 0, "nobody had to join again");
  t.diagnostic(`${lang}: ${seconds.toFixed(1)} s from the first command to a change under two open windows`);
  const most = bound(`first_change::${lang}`);
  assert.ok(seconds <= most, `${seconds.toFixed(1)} s are more than ${most}`);
  return windows;
}
