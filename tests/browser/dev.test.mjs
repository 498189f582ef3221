// `bennu dev` in a real browser: what it shows above a page while a plugin is edited.

import assert from "node:assert/strict";
import { test } from "node:test";

import { startDev, until } from "../host.mjs";
import { desktop, openWindow, phone, picture, startBrowser } from "./window.mjs";

const CONFIG = `
load = ["plugins"]
static = "public"
[limits]
call_cpu_ms = 500
init_cpu_ms = 5000
`;

const PLUGIN = `import { channel, plugin } from "bennu";

export default plugin({
  "room:*": channel({
    on: {
      crash({ text }: { text: string }) {
        throw new Error(text);
      },
    },
  }),
});
`;

const PAGE = `<!doctype html>
<title>page</title>
<body>
<h1>hello</h1>
<script>
  const socket = new WebSocket(location.origin.replace("http", "ws") + "/socket/websocket?vsn=2.0.0")
  const joined = new Promise((resolve) => (socket.onmessage = resolve))
  socket.onopen = () => socket.send('["1","1","room:1","phx_join",{}]')
  const crash = (text) => socket.send(JSON.stringify(["1", "2", "room:1", "crash", { text }]))
</script>
</body>
`;

/** The overlay above a page. */
const alert = (window) => window.locator("bennu-dev").getByRole("alert");

test("a refused save is shown above the page until it is mended", async (t) => {
  const host = await startDev(t, { "bennu.toml": CONFIG, "plugins/chat.ts": PLUGIN, "public/index.html": PAGE });
  const browser = await startBrowser(t);
  const window = await openWindow(browser, host.url);
  await window.getByRole("heading", { name: "hello" }).waitFor();
  assert.equal(await alert(window).count(), 0);

  await host.write("plugins/chat.ts", PLUGIN.replace("throw new", "throw ; new"));
  await alert(window).waitFor();
  const text = await alert(window).textContent();
  assert.match(text, /chat: refused; the last build keeps running/);
  assert.match(text, /chat\.ts:7:15: /);
  await picture(window, "dev-refused");
  const small = await openWindow(browser, host.url, phone);
  await alert(small).waitFor();
  await picture(small, "dev-refused-phone");

  await host.write("plugins/chat.ts", PLUGIN.replace("throw new", "/* mended */ throw new"));
  await alert(window).waitFor({ state: "detached" });
  assert.deepEqual(window.troubles, []);
});

test("a fault is shown as text, and can be hidden", async (t) => {
  const host = await startDev(t, { "bennu.toml": CONFIG, "plugins/chat.ts": PLUGIN, "public/index.html": PAGE });
  const window = await openWindow(await startBrowser(t), host.url, desktop);
  await window.evaluate(async () => void (await joined));
  await window.evaluate(() => crash("<img src=x onerror=alert(1)>"));
  await alert(window).waitFor();
  const text = await alert(window).textContent();
  assert.match(text, /chat: fault in handle_in `crash` of room:1/);
  assert.match(text, /<img src=x onerror=alert\(1\)>/);
  assert.match(text, /in crash \(chat\.ts:7:/);
  assert.equal(await alert(window).locator("img").count(), 0);
  await picture(window, "dev-fault");
  await alert(window).getByRole("button").click();
  await alert(window).waitFor({ state: "detached" });
  assert.deepEqual(window.troubles, []);
});

test("a page loads itself again when its file is saved", async (t) => {
  const host = await startDev(t, { "bennu.toml": CONFIG, "plugins/chat.ts": PLUGIN, "public/index.html": PAGE });
  const window = await openWindow(await startBrowser(t), host.url);
  await window.getByRole("heading", { name: "hello" }).waitFor();
  await host.write("public/index.html", PAGE.replace("hello", "good morning"));
  await window.getByRole("heading", { name: "good morning" }).waitFor();
});

test("a project without pages has a page that lists its plugins", async (t) => {
  const host = await startDev(t, { "plugins/chat.ts": PLUGIN });
  const window = await openWindow(await startBrowser(t), host.url);
  await window.getByRole("cell", { name: "room:*" }).waitFor();
  await picture(window, "dev-page");
  await host.write("plugins/board.ts", PLUGIN.replace("room:*", "board:*"));
  await window.getByRole("cell", { name: "board:*" }).waitFor();
  await until("the terminal says so too", () => host.log.includes("board: generation 1 in "));
  assert.deepEqual(window.troubles, []);
});
