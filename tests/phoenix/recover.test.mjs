// Recovery of missed messages with the official client, whose connections are cut at random moments.

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectTcp, createServer } from "node:net";
import { test } from "node:test";
import { LongPoll, Socket } from "phoenix";
import { WebSocket } from "ws";

import { recover } from "../../client/recover.mjs";
import { sharedChannel } from "../../client/shared_channel.mjs";
import { startHost, until, within } from "../host.mjs";
import { randomNumbers, rounds } from "../rounds.mjs";
import { Joined, connect, join } from "./client.mjs";

/** `COUNT` is the number of kept broadcasts. A third of the `filtered` events are dropped, and a third are replaced. */
const FEED = `
import { channel, drop, plugin } from "bennu";

export default plugin({
  "feed:*": channel({
    history: { count: COUNT },
    join(params, socket) {
      socket.broadcastFrom("came", {});
    },
    on: {
      said({ id }: { id: number }, socket) {
        socket.broadcast("said", { id });
        return {};
      },
      filtered({ id }: { id: number }, socket) {
        socket.broadcast("filtered", { id });
        return {};
      },
      bytes({ id }: { id: number }, socket) {
        socket.broadcast("bytes", new Uint8Array([id >> 8, id & 255]));
        return {};
      },
      own({ id }: { id: number }, socket) {
        socket.broadcastFrom("said", { id });
        return {};
      },
    },
    intercept: {
      filtered({ id }: { id: number }) {
        if (id % 3 === 1) return drop;
        return id % 3 === 2 ? { id, replaced: true } : undefined;
      },
    },
  }),
});
`;

const feed = (count) => ({ "feed.ts": FEED.replace("COUNT", String(count)) });

/** A proxy in front of the host, whose connections can be cut. */
async function proxied(t, host) {
  const open = new Set();
  const server = createServer((client) => {
    const behind = connectTcp(Number(new URL(host.url).port), "127.0.0.1");
    for (const [one, other] of [[client, behind], [behind, client]]) {
      open.add(one);
      one.on("error", () => {}).on("close", () => {
        open.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const cut = () => open.forEach((socket) => socket.destroy());
  t.after(() => {
    cut();
    server.close();
  });
  return { cut, url: `ws://127.0.0.1:${server.address().port}/socket` };
}

/** Version 1 of the protocol, which older clients speak. */
const V1 = {
  vsn: "1.0.0",
  encode: ({ topic, event, payload, ref, join_ref }, done) => done(JSON.stringify({ topic, event, payload, ref, join_ref })),
  decode: (text, done) => done(JSON.parse(text)),
};

/** A client that notes the ids that it gets, and what it is told about missed messages. */
function reader(t, url, options = {}, onMissed = () => {}) {
  const quick = { reconnectAfterMs: () => 10, rejoinAfterMs: () => 10, longpollerTimeout: 2_000 };
  const socket = new Socket(url, { transport: WebSocket, ...quick, ...options });
  t.after(() => socket.disconnect());
  socket.connect();
  const channel = socket.channel("feed:1");
  const reader = { channel, socket, got: [], missed: 0, recovered: 0 };
  const position = new Promise((resolve) => channel.on("history", resolve));
  channel.on("said", ({ id }) => reader.got.push(id));
  channel.on("filtered", ({ id, replaced = false }) => {
    assert.equal(replaced, id % 3 === 2);
    reader.got.push(id);
  });
  channel.on("bytes", (bytes) => reader.got.push(new DataView(bytes).getUint16(0)));
  recover(channel, {
    onMissed() {
      reader.missed += 1;
      onMissed(reader);
    },
    onRecovered: () => (reader.recovered += 1),
  });
  const joined = new Joined(channel, { stores: false });
  reader.push = (event, payload) => joined.push(event, payload);
  // Without its position, a client whose connection is cut can only be told that it may have missed something.
  reader.join = async () => {
    await joined.join();
    await within("the client's position", position);
  };
  return reader;
}

for (const [name, options, events] of [
  ["over WebSocket", {}, ["said", "filtered", "bytes"]],
  // Over long-poll, phoenix.js reads no bytes.
  ["over long-poll", { transport: LongPoll }, ["said", "filtered"]],
  ["with version 1 of the protocol", V1, ["said", "filtered"]],
]) {
  test(`a client that is cut off at random moments gets each message once and in order, ${name}`, async (t) => {
    const host = await startHost(t, { scripts: feed(5_000) });
    const { cut, url } = await proxied(t, host);
    const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
    t.diagnostic(`SEED=${seed}`);
    const below = randomNumbers(seed);
    const writer = await join(connect(t, host), "feed:1");
    const client = reader(t, url, options);
    await client.join();
    const expected = [];
    for (let id = 0; id < rounds("phoenix::recover"); id += 1) {
      const event = events[below(events.length)];
      if (event !== "filtered" || id % 3 !== 1) expected.push(id);
      const said = writer.push(event, { id });
      // Sometimes the message is on its way, and sometimes it has arrived.
      if (below(3) > 0) await said;
      if (below(8) > 0) continue;
      const before = client.recovered;
      cut();
      // Sometimes the next messages come while the client is away, and sometimes after it is back.
      if (below(4) === 0) await until("the client is back", () => client.recovered > before);
    }
    await writer.push("said", { id: 60_000 });
    await until("the last message has arrived", () => client.got.at(-1) === 60_000);
    assert.deepEqual(client.got, [...expected, 60_000]);
    assert.ok(client.recovered > 3, `${client.recovered} recoveries`);
    assert.equal(client.missed, 0);
  });
}

test("a client that was away for too many messages is told, and goes on", async (t) => {
  const host = await startHost(t, { scripts: feed(3) });
  const { cut, url } = await proxied(t, host);
  const writer = await join(connect(t, host), "feed:1");
  const client = reader(t, url, { reconnectAfterMs: () => 1_000_000 });
  await client.join();
  assert.deepEqual([client.missed, client.recovered], [0, 0], "nothing was missed before the first join");
  await writer.push("said", { id: 1 });
  await until("the message has arrived", () => client.got.length === 1);
  cut();
  await until("the connection is gone", () => !client.socket.isConnected());
  for (const id of [2, 3, 4, 5]) await writer.push("said", { id });
  const again = () => client.socket.disconnect(() => client.socket.connect());
  again();
  await until("the client was told", () => client.missed === 1);
  await writer.push("said", { id: 6 });
  await until("it is a member", () => client.got.includes(6));
  assert.deepEqual([client.got, client.recovered], [[1, 6], 0]);
  // The same after a restart of the host, which keeps no history.
  await host.stop();
  await host.start();
  again();
  await until("the client was told again", () => client.missed === 2);
});

test("after kills of the host a client has each message once and in order, and is told where some are missing", async (t) => {
  const host = await startHost(t, { scripts: feed(1_000) });
  const { cut, url } = await proxied(t, host);
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
  t.diagnostic(`SEED=${seed}`);
  const below = randomNumbers(seed);
  const writer = await join(connect(t, host), "feed:1");
  const client = reader(t, url, {}, ({ got }) => got.push("missed"));
  await client.join();
  // Messages with an answer were broadcast. Of the others, some were.
  const answered = [];
  let id = 0;
  for (let round = 0; round < rounds("phoenix::recover_kill"); round += 1) {
    for (let n = below(40); n >= 0; n -= 1) {
      const mine = (id += 1);
      const said = writer.push("said", { id: mine }, 5_000).then(({ status }) => status === "ok" && answered.push(mine));
      if (below(3) > 0) await said;
      if (below(10) === 0) cut();
    }
    await host.kill();
    await host.start();
    await until("the client has joined the new host", async () => (await members(host)) === 2);
  }
  const last = (id += 1);
  await writer.push("said", { id: last });
  await until("the last message has arrived", () => client.got.at(-1) === last);
  const known = new Set([...answered, last]);
  let before = 0;
  for (const [at, got] of client.got.entries()) {
    if (got === "missed") continue;
    assert.ok(got > before, `${got} after ${before}`);
    const lost = Array.from({ length: got - before - 1 }, (_, n) => before + 1 + n).filter((id) => known.has(id));
    assert.ok(lost.length === 0 || client.got[at - 1] === "missed", `${lost} were lost before ${got}, and nobody said so`);
    before = got;
  }
  assert.ok(client.missed > 0 && client.got.length > client.missed);
});

async function members(host) {
  const response = await host.api("/api/topics/feed%3A1");
  return (await response.json()).members;
}

test("a client doesn't get what it has broadcast to the others, also after it was away", async (t) => {
  const host = await startHost(t, { scripts: feed(100) });
  const { cut, url } = await proxied(t, host);
  const client = reader(t, url);
  const other = reader(t, url);
  for (const each of [client, other]) await each.join();
  for (const id of [1, 2, 3]) {
    await client.push("own", { id });
    cut();
    await until("both were away", () => client.recovered === id && other.recovered >= id);
  }
  await until("the other one has them", () => other.got.length === 3);
  assert.deepEqual([client.got, other.got], [[], [1, 2, 3]]);
});

test("a channel of the hooks for React gets missed messages if a component wants to know what it missed", async (t) => {
  const host = await startHost(t, { scripts: feed(100) });
  const { cut, url } = await proxied(t, host);
  const writer = await join(connect(t, host), "feed:1");
  const socket = new Socket(url, { transport: WebSocket, reconnectAfterMs: () => 10, rejoinAfterMs: () => 10 });
  t.after(() => socket.disconnect());
  socket.connect();
  const shared = sharedChannel(socket, "feed:1");
  const got = [];
  let missed = 0;
  shared.on("said", ({ id }) => got.push(id));
  const leave = [shared.hold({}, "{}"), shared.hold({}, "{}", () => (missed += 1))];
  await until("it has joined", () => shared.snapshot.status === "joined");
  for (const id of [1, 2, 3]) {
    await writer.push("said", { id });
    cut();
    await writer.push("said", { id: id * 10 });
    await until("the message has arrived", () => got.at(-1) === id * 10);
  }
  assert.deepEqual([got, missed], [[1, 10, 2, 20, 3, 30], 0]);
  await host.stop();
  await host.start();
  await until("the component was told", () => missed === 1);
  for (const end of leave) end();
});

test("a topic that no longer has a history is told as missed", async (t) => {
  const host = await startHost(t, { scripts: feed(100) });
  const { cut, url } = await proxied(t, host);
  const writer = await join(connect(t, host), "feed:1");
  const client = reader(t, url);
  await client.join();
  await host.write("feed.ts", FEED.replace("history: { count: COUNT },", ""));
  await until("the new build serves", async () => (await writer.push("said", { id: 1 })) && host.log.includes("generation=2"));
  cut();
  await until("the client was told", async () => (await writer.push("said", { id: 2 })) && client.missed === 1);
});

test("a client whose position was lost with the connection, or has no history, is told", () => {
  const passed = [];
  const joinPush = { ref: "1", payload: () => ({ user: "ada" }) };
  const channel = { joinPush, trigger: (event, payload, ref) => passed.push([event, ref]) };
  let missed = 0;
  recover(channel, { onMissed: () => (missed += 1) });
  const { user, since } = joinPush.payload();
  assert.deepEqual([user, Object.keys(since)], ["ada", ["client"]], "the first join has no position");
  channel.trigger("phx_reply", { status: "ok", response: {} }, "1", "1");
  assert.deepEqual(joinPush.payload().since, { client: since.client, epoch: "", n: 0 }, "the position never came");
  channel.trigger("phx_reply", { status: "ok", response: {} }, "1", "1");
  channel.trigger("history", { epoch: "e", n: 4, recovered: false }, null, "1");
  assert.equal(missed, 1);
  for (const number of [5, 5, 4, 7]) channel.trigger("said", {}, `h${number}`, null);
  assert.deepEqual(joinPush.payload().since, { client: since.client, epoch: "e", n: 7 });
  channel.trigger("phx_reply", { status: "ok", response: {} }, "1", "1");
  channel.trigger("said", {}, null, null);
  assert.equal(missed, 2, "the topic no longer has a history");
  const said = passed.filter(([event]) => event === "said");
  assert.deepEqual(said, [["said", "h5"], ["said", "h7"], ["said", null]], "nothing comes twice");
});
