// Compression, which Chromium negotiates by itself.

import assert from "node:assert/strict";
import { test } from "node:test";

import { enter, say, shown, start } from "./chat.mjs";

test("Chromium and the host compress each other's messages", async (t) => {
  const { host, open } = await start(t, '[mounts."/socket"]\ncompress = true\n');
  const [ada, bo] = [await open(), await open()];
  const answers = [];
  const session = await bo.context().newCDPSession(bo);
  await session.send("Network.enable");
  session.on("Network.webSocketHandshakeResponseReceived", ({ response }) => answers.push(response.headers));
  await bo.reload();
  await enter(ada, "Ada");
  await enter(bo, "Bo");
  const extensions = answers.map((headers) => headers["Sec-WebSocket-Extensions"] ?? headers["sec-websocket-extensions"]);
  assert.match(extensions.at(-1), /^permessage-deflate; /);

  const verse = "The heron stood in the reeds, and the reeds stood in the water. ";
  const texts = [1, 12, 20, 20].map((times, n) => `${n}: ${verse.repeat(times)}`.trim());
  for (const text of texts) {
    await say(ada, text);
    for (const page of [ada, bo]) await shown(page, text);
  }
  const { compression: counts } = await (await host.api("/api/inspect")).json();
  assert.ok(counts.messages >= 3 && counts.bytes_after < counts.bytes_before / 2, JSON.stringify(counts));
  assert.ok(counts.inflated >= 3, "Chromium compresses its messages");
  assert.deepEqual([...ada.troubles, ...bo.troubles], []);
});
