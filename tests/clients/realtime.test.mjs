// Supabase's clients for JavaScript and Python, unchanged, together with phoenix.js. Where no option is given, realtime-js
// speaks what it speaks by default: version 2, with its own binary frames.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { RealtimeClient } from "@supabase/realtime-js";
import { Presence } from "phoenix";
import { WebSocket } from "ws";

import { startHost, until, within } from "../host.mjs";
import { connect, Joined } from "../phoenix/client.mjs";
import { python } from "./programs.mjs";
import { puppet } from "./puppet.mjs";

const SECRET = "a secret of the tests, which protects nothing";

const MOUNT = '[mounts."/socket"]\n[mounts."/realtime/v1"]\nserializer = "supabase"\n';
const PRIVATE = `${MOUNT}[plugins.realtime.config]\nprivate = ["chat:*", "news"]\njwt_secret = "${SECRET}"\n`;

const start = (test, config = MOUNT) => startHost(test, { plugins: ["realtime.ts"], config });

/** A list of presences without the refs, because refs differ in each run. */
const online = (state) =>
  Object.fromEntries(
    Object.entries(state).map(([key, metas]) => [key, metas.map(({ presence_ref, ...meta }) => [!!presence_ref, meta])]),
  );

/** Connects with realtime-js, at the path that `@supabase/supabase-js` uses. */
function supabase(test, host, { path = "/realtime/v1", ...options } = {}) {
  const client = new RealtimeClient(host.url.replace("http", "ws") + path, {
    params: { apikey: "none" }, transport: WebSocket, reconnectAfterMs: () => 50, ...options,
  });
  test.after(() => client.disconnect());
  return client;
}

/** Joins a channel, and collects what it gets. */
async function join(client, name, config = {}) {
  const channel = client.channel(name, { config });
  const joined = { channel, states: [], received: [], system: [], online: () => online(channel.presenceState()) };
  channel.on("broadcast", { event: "*" }, (message) => joined.received.push(message));
  channel.on("presence", { event: "sync" }, () => {});
  channel.on("system", {}, (message) => joined.system.push(message));
  await within(`an answer to the join of ${name}`, new Promise((resolve) => {
    channel.subscribe((state, error) => {
      joined.states.push(error ? `${state}: ${error.message}` : state);
      resolve();
    });
  }));
  return joined;
}

/** Joins, and returns the reason why it was refused. The client would try again. */
async function refusal(client, name, config) {
  const { channel, states } = await join(client, name, config);
  await client.removeChannel(channel);
  return states[0];
}

/** Waits until a client has got so many broadcasts, and returns them. */
async function got(joined, count) {
  await until(`${count} broadcasts arrive`, () => joined.received.length >= count);
  return joined.received.splice(0);
}

const broadcast = (event, payload) => ({ type: "broadcast", event, payload });

/** An access token as Supabase's own tool signs it. */
function signed(claims, { secret = SECRET, alg = "HS256" } = {}) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const body = `${part({ alg, typ: "JWT" })}.${part(claims)}`;
  return `${body}.${createHmac("sha256", secret).update(body).digest("base64url")}`;
}

const soon = (seconds = 3600) => Math.floor(Date.now() / 1000) + seconds;

/** Waits until the Python client shows this list of presences. */
async function shows(client, expected) {
  for (;;) {
    const shown = online(await client.next("presence"));
    if (isDeepStrictEqual(shown, expected)) return;
  }
}

test("realtime-js and Python's realtime broadcast to each other, and see who is online", async (t) => {
  const host = await start(t);
  const ada = await join(supabase(t, host), "lobby", { broadcast: { self: false, ack: true }, presence: { key: "ada" } });
  assert.deepEqual(ada.states, ["SUBSCRIBED"]);
  const bo = puppet(t, [...python("realtime_client"), host.socketUrl, "lobby", "bo"]);
  assert.equal(await bo.next("state"), "SUBSCRIBED");
  const socket = connect(t, host);
  const witness = new Joined(socket.channel("realtime:lobby", { config: {} }));
  const presence = new Presence(witness.channel);
  assert.deepEqual(await witness.join(), { status: "ok", response: { postgres_changes: [] } });

  assert.equal(await ada.channel.track({ mood: "well" }), "ok");
  await shows(bo, { ada: [[true, { mood: "well" }]] });
  bo.say("track", { mood: "fine" });
  const both = { ada: [[true, { mood: "well" }]], bo: [[true, { mood: "fine" }]] };
  await shows(bo, both);
  await until("ada sees bo", () => ada.channel.presenceState().bo);
  assert.deepEqual(ada.online(), both);
  await until("phoenix.js sees both", () => presence.list().length === 2);
  assert.deepEqual(presence.list((key, { metas }) => [key, metas[0].mood]), [["ada", "well"], ["bo", "fine"]]);

  assert.equal(await ada.channel.send(broadcast("cursor", { x: 1 })), "ok");
  // The Python client removes the type.
  assert.deepEqual(await bo.next("broadcast"), { event: "cursor", payload: { x: 1 } });
  bo.say("broadcast", "cursor", { x: 2, name: "böö" });
  assert.deepEqual(await got(ada, 1), [broadcast("cursor", { x: 2, name: "böö" })]);

  assert.equal(await ada.channel.track({ mood: "better" }), "ok");
  await shows(bo, { bo: both.bo, ada: [[true, { mood: "better" }]] });
  await bo.close();
  await until("bo is gone", () => !ada.channel.presenceState().bo);
  assert.deepEqual(ada.online(), { ada: [[true, { mood: "better" }]] });
  assert.equal(await ada.channel.untrack(), "ok");
  await until("nobody is left", () => presence.list().length === 0);
  assert.equal(await ada.channel.unsubscribe(), "ok");
});

test("payloads of every kind arrive, also between versions 1 and 2", async (t) => {
  const host = await start(t);
  const sender = await join(supabase(t, host), "lobby", { broadcast: { self: true, ack: true } });
  const other = await join(supabase(t, host), "lobby");
  const old = await join(supabase(t, host, { vsn: "1.0.0" }), "lobby");
  const payloads = [{ x: 1 }, [1, "two", null], "text", 1.5, true, null, { ü: "\u{1F426}\\\"" }, { deep: [[[{}]]] }, { long: "x".repeat(300_000) }];
  for (const payload of payloads) {
    // This client replaces a null by an empty object.
    const expected = [broadcast("ev\"ü", payload ?? {})];
    assert.equal(await sender.channel.send(broadcast("ev\"ü", payload)), "ok");
    for (const client of [sender, other, old]) assert.deepEqual(await got(client, 1), expected);
  }
  const bytes = new Uint8Array([0, 255, 1, 123]).buffer;
  assert.equal(await sender.channel.send(broadcast("bytes", bytes)), "ok");
  for (const client of [sender, other]) assert.deepEqual(await got(client, 1), [broadcast("bytes", bytes)]);
  assert.equal(await sender.channel.send(broadcast("empty", new ArrayBuffer(0))), "ok");
  assert.deepEqual(await got(other, 1), [broadcast("empty", new ArrayBuffer(0))]);

  assert.equal(await old.channel.send(broadcast("old", { n: 1 })), "ok");
  for (const client of [sender, other]) assert.deepEqual((await got(client, client === sender ? 2 : 1)).at(-1), broadcast("old", { n: 1 }));
  assert.deepEqual(old.received, [], "version 1 gets no bytes, and nobody gets its own broadcast without `self`");
});

test("joins and messages that can't work get a reason", async (t) => {
  const host = await start(t);
  const client = supabase(t, host);
  const changes = client.channel("db");
  changes.on("postgres_changes", { event: "*", schema: "public", table: "users" }, () => {});
  const state = new Promise((resolve) => changes.subscribe((state, error) => resolve(`${state}: ${error?.message}`)));
  assert.match(await within("the refusal", state), /^CHANNEL_ERROR: .*there are no postgres_changes here/);
  await client.removeChannel(changes);
  assert.match(await refusal(client, "", {}), /TopicNameRequired/);
  assert.match(await refusal(client, "lobby", { private: true }), /Unauthorized: lobby is no private channel here/);
  const lobby = await join(client, "lobby", { broadcast: { ack: true } });
  assert.equal(await lobby.channel.send({ type: "presence", event: "hide" }), "error");
  assert.equal(await lobby.channel.track("no object"), "error");
  assert.equal(await lobby.channel.track({ ok: 1 }), "ok");
  assert.doesNotMatch(host.log, /fault/);
});

test("without the mount's serializer, a binary frame of realtime-js closes its socket", async (t) => {
  const host = await start(t, `log = "debug"\n${MOUNT}`);
  const { channel, states } = await join(supabase(t, host, { path: "/socket" }), "lobby");
  await channel.send(broadcast("cursor", {}));
  await until("the log says what to do", () => /set the mount's `serializer = "supabase"`/.test(host.log));
  await until("the socket is closed", () => states.some((state) => /socket closed: 1011/.test(state)));
});

test("clients come back after the host was gone", async (t) => {
  const host = await start(t);
  const clients = [await join(supabase(t, host), "lobby"), await join(supabase(t, host), "lobby")];
  for (let round = 0; round < 3; round++) {
    await host.kill();
    for (const { states } of clients) states.length = 0;
    await host.start();
    for (const { states } of clients) await until("it has joined again", () => states.includes("SUBSCRIBED"));
    await clients[round % 2].channel.send(broadcast("round", { round }));
    assert.deepEqual(await got(clients[(round + 1) % 2], 1), [broadcast("round", { round })]);
  }
});

test("a token decides about private channels", async (t) => {
  const host = await start(t, PRIVATE);
  const client = async (token) => {
    const client = supabase(t, host);
    if (token) await client.setAuth(token);
    return client;
  };
  const config = { private: true, broadcast: { ack: true } };
  const both = { realtime: { read: ["chat:*", "news"], write: ["chat:*"] } };
  const refused = async (token, name = "chat:1", its = config) => refusal(await client(token), name, its);
  assert.match(await refused(undefined), /MalformedJWT/);
  assert.match(await refused("a.b"), /MalformedJWT/);
  assert.match(await refused("a.b.c"), /MalformedJWT/);
  assert.match(await refused(signed({ exp: soon(), ...both }, { secret: `${SECRET}!` })), /JwtSignatureError/);
  assert.match(await refused(signed({ exp: soon(), ...both }, { alg: "none" })), /JwtSignatureError/);
  assert.match(await refused(signed({ exp: soon(), ...both }).replace(/.$/, "")), /JwtSignatureError|MalformedJWT/);
  assert.match(await refused(signed({ ...both })), /`exp` is required/);
  assert.match(await refused(signed({ exp: soon(-5), ...both })), /Token has expired \d+ seconds ago/);
  assert.match(await refused(signed({ exp: soon() })), /Unauthorized: You do not have permissions to read .* chat:1/);
  assert.match(await refused(signed({ exp: soon(), ...both }), "news", { private: false }), /PrivateOnly/);

  const [ada, bo] = [await client(signed({ exp: soon(), ...both })), await client(signed({ exp: soon(), ...both }))];
  const [writer, reader] = [await join(ada, "chat:1", config), await join(bo, "chat:1", { private: true })];
  assert.deepEqual([writer.states, reader.states], [["SUBSCRIBED"], ["SUBSCRIBED"]]);
  assert.equal(await writer.channel.send(broadcast("hi", {})), "ok");
  assert.deepEqual(await got(reader, 1), [broadcast("hi", {})]);

  const [muted, listener] = [await join(ada, "news", { private: true }), await join(bo, "news", { private: true })];
  await muted.channel.send(broadcast("fake news", {}));
  assert.equal(await muted.channel.track({}), "error", "a client that may not write has no presence");
  assert.deepEqual(listener.received, [], "and the answer to `track` came after the broadcast");
});

test("a renewed token keeps a private channel, and an expired or revoked one ends it", async (t) => {
  const host = await start(t, PRIVATE);
  const claims = { realtime: { read: ["chat:*"], write: ["chat:*"] } };
  const joined = async (seconds) => {
    const client = supabase(t, host);
    await client.setAuth(signed({ exp: soon(seconds), ...claims }));
    return [client, await join(client, "chat:1", { private: true, broadcast: { ack: true } })];
  };
  const [, expiring] = await joined(2);
  const [renewing, renewed] = await joined(3);
  const [revoking, revoked] = await joined(3600);
  await renewing.setAuth(signed({ exp: soon(3600), ...claims }));
  await revoking.setAuth(signed({ exp: soon(3600), realtime: {} }));
  await until("the revoked one is closed", () => revoked.states.includes("CLOSED"));
  assert.match(revoked.system[0].message, /You no longer have permission to read from this Channel topic: chat:1/);
  await until("the expired one is closed", () => expiring.states.includes("CLOSED"));
  assert.match(expiring.system[0].message, /Token has expired \d+ seconds ago/);
  assert.deepEqual([expiring.system[0].status, expiring.system[0].channel], ["error", "chat:1"]);
  const late = await joined(3);
  await until("the token without renewal is closed, too", () => late[1].states.includes("CLOSED"));
  assert.equal(await renewed.channel.send(broadcast("still here", {})), "ok");
  assert.deepEqual(renewed.states, ["SUBSCRIBED"]);
});

test("stored broadcasts are replayed to clients that join later", async (t) => {
  const host = await start(t, PRIVATE);
  const client = supabase(t, host);
  await client.setAuth(signed({ exp: soon(), realtime: { read: ["chat:*"], write: ["chat:*"] } }));
  const writer = await join(client, "chat:1", { private: true, broadcast: { ack: true } });
  const since = Date.now() - 60_000;
  for (let n = 0; n < 3; n++) assert.equal(await writer.channel.send({ ...broadcast("said", { n }), persist: n !== 1 }), "ok");
  assert.equal(await writer.channel.send({ ...broadcast("soon gone", {}), persist: { ttl: 0.001 } }), "ok");
  assert.match(await writer.channel.send({ ...broadcast("b", new ArrayBuffer(1)), persist: true }), /bytes can't be stored/);
  assert.match(await writer.channel.send({ ...broadcast("b", {}), persist: { ttl: -1 } }), /persist\.ttl/);
  const neighbour = await join(client, "chat:1/2", { private: true, broadcast: { ack: true } });
  assert.equal(await neighbour.channel.send({ ...broadcast("said elsewhere", {}), persist: true }), "ok");
  await host.kill();
  await host.start();
  const later = supabase(t, host);
  await later.setAuth(signed({ exp: soon(), realtime: { read: ["chat:*"] } }));
  const replayed = async (replay) => {
    const joined = await join(later, "chat:1", { private: true, broadcast: { replay } });
    const messages = joined.states[0] === "SUBSCRIBED" ? await got(joined, 1) : joined.states[0];
    await later.removeChannel(joined.channel);
    return messages;
  };
  const all = await replayed({ since });
  assert.deepEqual(all.map(({ meta, ...rest }) => rest), [broadcast("said", { n: 0 }), broadcast("said", { n: 2 })]);
  assert.ok(all.every(({ meta }) => meta.replayed && typeof meta.id === "string"));
  assert.deepEqual((await replayed({ since, limit: 1 })).map(({ payload }) => payload), [{ n: 2 }]);
  assert.match(await replayed({ since, limit: 26 }), /UnableToReplayMessages/);
  assert.match(await replayed({ since: "yesterday" }), /UnableToReplayMessages/);
});
