// Compression (permessage-deflate), with the `ws` client of Node and phoenix.js over it.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";

import { WebSocket } from "ws";

import { startHost, until, within } from "../host.mjs";
import { connect, join } from "./client.mjs";

const COMPRESS = '[mounts."/socket"]\ncompress = true\n';

const start = (test, config = COMPRESS) => startHost(test, { plugins: ["echo"], config });

/** The host's figures about compression. */
const figures = async (host) => (await (await host.api("/api/inspect")).json()).compression;

/** A long text that becomes much shorter, and differs for each number. */
const long = (number, bytes = 4_000) => `${number}: ${"the quick brown fox jumps over the lazy dog; ".repeat(bytes / 45)}`;

/** Text that hardly becomes shorter than 5/8, because it is random. It is the same in each run. */
function noise(characters) {
  let [seed, text] = [1, ""];
  while (text.length < characters) {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    text += (seed >>> 8).toString(16).padStart(6, "0");
  }
  return text;
}

/** A client without phoenix.js, so that a test sees its frames. */
async function open(test, host, options = {}) {
  const socket = new WebSocket(`${host.socketUrl}/websocket?vsn=2.0.0`, options);
  test.after(() => socket.terminate());
  const received = [];
  socket.on("message", (data, isBinary) => received.push(isBinary ? data : JSON.parse(data)));
  const upgrade = once(socket, "upgrade");
  await within("an open connection", once(socket, "open"));
  const [{ headers }] = await upgrade;
  return {
    socket,
    /** The host's answer to the offer of compression. */
    answer: headers["sec-websocket-extensions"],
    send: (...message) => socket.send(JSON.stringify(message)),
    next: async () => {
      await until("a message comes", () => received.length > 0);
      return received.shift();
    },
    bytes: () => socket._socket.bytesRead,
  };
}

async function member(test, host, options) {
  const client = await open(test, host, options);
  client.send("1", "1", "echo:1", "phx_join", {});
  assert.equal((await client.next())[4].status, "ok");
  return client;
}

test("a mount negotiates compression only if it is turned on", async (t) => {
  const [off, on] = [await start(t, ""), await start(t)];
  const answer = async (host, perMessageDeflate) => (await open(t, host, { perMessageDeflate })).answer;
  assert.equal(await answer(off, true), undefined);
  assert.equal(await answer(on, false), undefined);
  const agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
  for (const offer of [true, { clientMaxWindowBits: 9 }, { serverNoContextTakeover: true }]) {
    assert.equal(await answer(on, offer), agreed);
  }
  assert.equal(await answer(on, { serverMaxWindowBits: 15 }), `${agreed}; server_max_window_bits=15`);
  assert.equal(await answer(on, { serverMaxWindowBits: 10 }), undefined);
});

test("messages of any size arrive at members with and without compression", async (t) => {
  const host = await start(t);
  const [compressed, plain] = [await member(t, host), await member(t, host, { perMessageDeflate: false })];
  const texts = [1, 10, 450, 500, 600, 2_000, 30_000, 130_000, 140_000, 400_000].map((bytes, n) => long(n, bytes));
  texts.push(noise(60_000), noise(300_000), "");
  const before = [compressed, plain].map((client) => client.bytes());
  for (const [n, text] of texts.entries()) compressed.send("1", `${n}`, "echo:1", "shout", { text });
  for (const client of [compressed, plain]) {
    for (const text of texts) assert.deepEqual(await client.next(), [null, null, "echo:1", "shout", { text }]);
  }
  const [few, all] = [compressed, plain].map((client, n) => client.bytes() - before[n]);
  const most = 0.7 * 360_000 + 25_000;
  assert.ok(few < most && all > 1_000_000, `${few} of ${all} bytes`);

  const counts = await figures(host);
  // All except the three short ones. Another thread compresses the three large ones.
  assert.equal(counts.messages, 10, JSON.stringify(counts));
  assert.ok(counts.bytes_saved >= all - few - 1_000 && counts.bytes_after < counts.bytes_before / 3);
  // `ws` compresses messages of 1 KiB or more.
  assert.ok(counts.inflated === 7 && counts.inflated_bytes_after > 3 * counts.inflated_bytes_before);
  assert.match(await host.bennu("inspect"), /compressed: 10 messages, .*\ninflated: 7 messages/);
});

test("the order is kept around messages that another thread compresses", async (t) => {
  const host = await start(t);
  const client = await member(t, host);
  let sent = 0;
  for (let round = 0; round < 12; round += 1) {
    for (const bytes of [100, 150_000 + round, 2_000, 100, 300_000, 100]) {
      client.send("1", `${sent}`, "echo:1", "echo", { text: long(sent, bytes) });
      sent += 1;
    }
  }
  for (let n = 0; n < sent; n += 1) assert.equal((await client.next())[1], `${n}`);
});

test("a client that leaves while its message is compressed leaves nothing behind", async (t) => {
  const host = await start(t);
  for (let round = 0; round < 10; round += 1) {
    const [leaving, staying] = [await member(t, host), await member(t, host)];
    staying.send("1", "2", "echo:1", "shout", { text: long(round, 500_000) });
    if (round % 2) leaving.socket.terminate();
    else leaving.socket.close();
    assert.equal((await staying.next())[3], "shout");
    staying.socket.close();
  }
  const inspected = async () => (await host.api("/api/inspect")).json();
  await until("all have left", async () => (await inspected()).sockets === 0);
});

test("a message over the limit is refused before and after it is inflated", async (t) => {
  const host = await start(t, `${COMPRESS}frame_bytes = 20000\n`);
  for (const text of ["x".repeat(30_000), "x".repeat(10_000_000), noise(60_000)]) {
    const client = await member(t, host);
    client.send("1", "2", "echo:1", "echo", { text });
    const [code] = await within("the end", once(client.socket, "close"));
    assert.equal(code, 1009);
  }
  const client = await member(t, host);
  client.send("1", "2", "echo:1", "echo", { text: "x".repeat(19_000) });
  assert.equal((await client.next())[4].response.text.length, 19_000);
});

test("phoenix.js works over compressed connections", async (t) => {
  const host = await start(t);
  const [ada, bob] = [connect(t, host), connect(t, host)];
  const channels = [await join(ada, "echo:1"), await join(bob, "echo:1")];
  assert.match(ada.conn.extensions, /^permessage-deflate/);
  const text = long(1, 200_000);
  assert.deepEqual(await channels[0].push("echo", { text }), { status: "ok", response: { text } });
  channels[1].send("shout", { text });
  for (const channel of channels) assert.deepEqual(await channel.next("shout"), { text });
  // Bytes, which are sent in binary frames.
  const bytes = new TextEncoder().encode(text).buffer;
  const { response } = await channels[0].push("echo", bytes);
  assert.deepEqual(Buffer.from(response), Buffer.from(bytes));

  // After a lost connection, the next one negotiates compression again.
  bob.conn.close();
  await until("bob has joined again", () => channels[1].joins === 2);
  assert.match(bob.conn.extensions, /^permessage-deflate/);
  channels[0].send("shout", { text });
  assert.deepEqual(await channels[1].next("shout"), { text });
  assert.ok((await figures(host)).messages > 0);
});
