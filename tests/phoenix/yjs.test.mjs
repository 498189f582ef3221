// Documents of Yjs: several clients edit one, lose their connections and their host, and end with the same text.

import assert from "node:assert/strict";
import { test } from "node:test";

// The copies of the packages that the provider imports, too: two copies of Yjs don't work together.
import { Awareness } from "../../guest-examples/yjs/page/node_modules/y-protocols/awareness.js";
import * as Y from "../../guest-examples/yjs/page/node_modules/yjs/dist/yjs.mjs";
import { Provider } from "../../guest-examples/yjs/page/provider.js";
import { startHost, until, within } from "../host.mjs";
import { connect, Joined } from "./client.mjs";

const start = (test, config) => startHost(test, { plugins: ["yjs"], config });

/** A client that edits `doc:NAME`. */
function edit(test, host, name, options = {}) {
  const socket = connect(test, host), doc = new Y.Doc(), errors = [];
  const waiting = new Set();
  const onChange = ({ synced }) => synced && waiting.forEach((resolve) => (waiting.delete(resolve), resolve()));
  const provider = new Provider(socket, `doc:${name}`, doc, { onChange, onError: (reason) => errors.push(reason), ...options });
  test.after(() => provider.destroy());
  return { socket, doc, provider, errors, waiting, text: doc.getText("text") };
}

/** Waits until the server has all changes of a client. */
async function isSynced({ provider, waiting }) {
  if (!provider.synced) await within("the client to be synchronized", new Promise((resolve) => waiting.add(resolve)));
}

/** Waits until all clients have the same text, and returns it. */
async function converged(clients) {
  await until("all clients are synchronized and have the same text", () => {
    const texts = new Set(clients.map(({ text }) => text.toString()));
    return clients.every(({ provider }) => provider.synced) && texts.size === 1;
  });
  return clients[0].text.toString();
}

/** Random numbers from a seed (mulberry32). */
function noise(seed) {
  return (below) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

test("two clients edit a text, and a third one gets it", async (t) => {
  const host = await start(t);
  const [ada, bo] = [edit(t, host, "a"), edit(t, host, "a")];
  await Promise.all([isSynced(ada), isSynced(bo)]);
  ada.text.insert(0, "hello ");
  assert.equal(await converged([ada, bo]), "hello ");
  bo.text.insert(6, "wörld \u{1F426}");
  ada.text.insert(0, "> ");
  assert.equal(await converged([ada, bo]), "> hello wörld \u{1F426}");
  const cleo = edit(t, host, "a");
  assert.equal(await converged([ada, bo, cleo]), "> hello wörld \u{1F426}");
  assert.deepEqual([ada.errors, bo.errors, cleo.errors], [[], [], []]);
});

test("random edits with lost connections and a killed host converge", async (t) => {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
  t.diagnostic(`SEED=${seed}`);
  const random = noise(seed), host = await start(t);
  const clients = Array.from({ length: 4 }, () => edit(t, host, "random"));
  const words = ["a", "bird ", "\u{1F426}", "ü", "\n", "a longer piece of text, "];
  const change = ({ text, doc }) => {
    const at = random(text.length + 1);
    const most = text.length - at;
    if (random(3) === 0 && most > 0) text.delete(at, 1 + random(Math.min(most, 20)));
    else text.insert(at, words[random(words.length)]);
    if (random(20) === 0) doc.getMap("map").set(words[random(3)], random(100));
  };
  for (let round = 0; round < 40; round++) {
    const offline = clients.filter(() => random(4) === 0);
    for (const { socket } of offline) socket.disconnect();
    for (let n = 0; n < 20; n++) change(clients[random(clients.length)]);
    if (round % 10 === 5) {
      await host.kill();
      await host.start();
    }
    for (let n = 0; n < 20; n++) change(clients[random(clients.length)]);
    for (const { socket } of offline) socket.connect();
    if (round % 5 === 0) await converged(clients);
  }
  const text = await converged(clients);
  const map = clients[0].doc.getMap("map").toJSON();
  for (const client of clients) assert.deepEqual(client.doc.getMap("map").toJSON(), map);
  const later = edit(t, host, "random");
  assert.equal(await converged([later]), text);
  assert.deepEqual(clients.map(({ errors }) => errors), [[], [], [], []]);
  assert.doesNotMatch(host.log, /fault/);
});

test("a document outlives the host, and stays small although it is often changed", async (t) => {
  const host = await start(t);
  const ada = edit(t, host, "long");
  await isSynced(ada);
  // Each character is a message of its own.
  for (let n = 0; n < 1_200; n++) {
    ada.text.insert(ada.text.length, "x".repeat(50));
    await isSynced(ada);
    if (ada.text.length > 1_000) ada.text.delete(0, 500);
  }
  await isSynced(ada);
  const text = ada.text.toString();
  await host.stop();
  const { entries, bytes } = await stored(host, "doc:long");
  assert.ok(entries < 510, `${entries} entries`);
  assert.ok(bytes < 100_000, `${bytes} bytes, although 60,000 characters were written and 59,000 deleted`);
  await host.start();
  await converged([ada]);
  assert.equal(await converged([edit(t, host, "long"), ada]), text);
});

test("large changes are stored whole, or not at all with a reason", async (t) => {
  const host = await start(t, "[plugins.yjs.config]\nbytes = 1_500_000\n");
  const ada = edit(t, host, "large");
  await isSynced(ada);
  // Longer than an entry may be together with what is there.
  for (const letter of "xy") {
    ada.text.insert(0, letter.repeat(700_000));
    await isSynced(ada);
  }
  await host.stop();
  await host.start();
  const bo = edit(t, host, "large");
  assert.equal(await converged([ada, bo]), "y".repeat(700_000) + "x".repeat(700_000));
  bo.text.insert(0, "z".repeat(200_000));
  await until("the reason is told", () => bo.errors.length > 0);
  assert.deepEqual(bo.errors, ["the document is full: it has at most 1500000 bytes"]);
  const cleo = edit(t, host, "other");
  await isSynced(cleo);
  cleo.text.insert(0, "z".repeat(1_100_000));
  await until("the reason is told", () => cleo.errors.length > 0);
  assert.match(cleo.errors[0], /a change of \d+ bytes is too large/);
  assert.doesNotMatch(host.log, /fault/);
});

/** The number of entries of a topic in the data of a host that is stopped, and their bytes. */
async function stored(host, topic) {
  const lines = (await host.bennu("store", "export")).split("\n").map((line) => JSON.parse(line));
  const entries = lines.filter((line) => line.topic === topic && line.entry !== undefined);
  return { entries: entries.length, bytes: entries.reduce((sum, line) => sum + JSON.stringify(line).length, 0) };
}

/** A message of y-protocols: its kind, and its bytes with their length. */
function message(kind, body) {
  const length = [];
  for (let rest = body.length; ; rest >>>= 7) {
    length.push(rest >= 0x80 ? (rest & 0x7f) | 0x80 : rest);
    if (rest < 0x80) break;
  }
  return Uint8Array.from([kind, ...length, ...body]).buffer;
}

test("damaged updates are refused, or are a fault, and never break the document", async (t) => {
  const seed = Number(process.env.SEED ?? 11), rounds = Number(process.env.ROUNDS ?? 300);
  const random = noise(seed), host = await start(t);
  const witness = edit(t, host, "attacked");
  witness.text.insert(0, "precious text, ".repeat(20));
  witness.doc.getMap("map").set("key", { a: [1, null, "two"] });
  witness.text.delete(5, 10);
  await isSynced(witness);
  // An attacker's own client, whose updates are damaged.
  const source = new Y.Doc(), updates = [];
  Y.applyUpdate(source, Y.encodeStateAsUpdate(witness.doc));
  source.on("update", (update) => updates.push(update));
  for (let n = 0; n < 30; n++) {
    source.getText("text").insert(random(source.getText("text").length), "evil");
    source.getText("text").format(0, 3, { bold: true });
    source.getText("text").delete(random(100), 3);
    source.getMap("map").set("nested", new Y.Map());
    source.getArray("list").insert(0, [n, { deep: [n] }, new Uint8Array(3)]);
    // An update that builds upon nothing else.
    updates.push(Y.encodeStateAsUpdate(source, Y.encodeStateVector(witness.doc)));
  }
  const counts = { ok: 0, error: 0, fault: 0 };
  const socket = connect(t, host), attacker = new Joined(socket.channel("doc:attacked", {}));
  await attacker.join();
  for (let round = 0; round < rounds; round++) {
    const update = [...updates[random(updates.length)]];
    for (let n = 0; n <= random(3); n++) {
      const at = random(update.length || 1);
      [() => (update[at] = random(256)), () => (update[at] ^= 1 << random(8)), () => update.splice(at, 1 + random(3)),
        () => update.splice(at, 0, random(256)), () => (update.length = Math.min(at, update.length))][random(5)]();
    }
    const joins = attacker.joins;
    const answer = new Promise((resolve) => {
      const push = attacker.channel.push("sync", message(2, update));
      for (const status of ["ok", "error"]) push.receive(status, () => resolve(status));
      attacker.channel.onError(() => resolve("fault"));
    });
    const status = await within(`an answer to ${Buffer.from(update).toString("hex")}`, answer);
    counts[status] += 1;
    if (status === "fault") await until("the attacker has joined again", () => attacker.joins > joins);
  }
  t.diagnostic(JSON.stringify(counts));
  assert.ok(counts.error > rounds / 2, JSON.stringify(counts));
  witness.text.insert(0, "still here: ");
  await host.stop();
  await host.start();
  const text = await converged([witness, edit(t, host, "attacked")]);
  assert.match(text, /^still here: /);
});
