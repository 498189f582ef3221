// Documents of Yjs: several clients edit one, lose their connections and their host, and end with the same text.

import assert from "node:assert/strict";
import { test } from "node:test";

// The copies of the packages that the provider imports, too: two copies of Yjs don't work together.
import { Awareness } from "../../guest-examples/yjs/page/node_modules/y-protocols/awareness.js";
import * as Y from "../../guest-examples/yjs/page/node_modules/yjs/dist/yjs.mjs";
import { Provider } from "../../guest-examples/yjs/page/provider.js";
import { startHost, until } from "../host.mjs";
import { connect, Joined } from "./client.mjs";

const start = (test, config) => startHost(test, { plugins: ["yjs"], config });

/** A client that edits `doc:NAME`. */
function edit(test, host, name, options = {}) {
  const socket = connect(test, host), doc = new Y.Doc(), errors = [];
  const provider = new Provider(socket, `doc:${name}`, doc, { onError: (reason) => errors.push(reason), ...options });
  test.after(() => provider.destroy());
  return { socket, doc, provider, errors, text: doc.getText("text") };
}

const isSynced = (client) => until("the client is synchronized", () => client.provider.synced);

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
