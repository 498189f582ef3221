// The client's part of published states, without a host: after any messages, it has the state that the server published.

import assert from "node:assert/strict";
import { test } from "node:test";

import { RoomState } from "../../client/room_state.mjs";
import { randomNumbers } from "../rounds.mjs";

/** A channel with the listener functions of phoenix.js's channels. */
class FakeChannel {
  #bindings = new Map();
  #refs = 0;

  on(event, listener) {
    this.#bindings.set((this.#refs += 1), { event, listener });
    return this.#refs;
  }

  off(event, ref) {
    if (this.#bindings.get(ref)?.event === event) this.#bindings.delete(ref);
  }

  /** Delivers a message, after a JSON round trip. */
  deliver(event, payload) {
    const bindings = [...this.#bindings.values()].filter((binding) => binding.event === event);
    for (const { listener } of bindings) listener(JSON.parse(JSON.stringify(payload)));
  }

  get size() {
    return this.#bindings.size;
  }
}

function follow() {
  const [channel, changes] = [new FakeChannel(), []];
  const room = new RoomState(channel, { onChange: (state, patch) => changes.push({ state, patch }) });
  return { channel, changes, room };
}

test("the first message is the whole state, and then come changes", () => {
  const { channel, changes, room } = follow();
  assert.deepEqual([room.state, room.n], [null, 0]);
  channel.deliver("room_diff", { n: 1, patch: { a: 1 } });
  assert.deepEqual([room.state, changes], [null, []], "a change before the first whole state is ignored");

  channel.deliver("room_state", { n: 4, state: { a: 1, b: { c: [1, null], d: null } } });
  assert.deepEqual([room.state, room.n], [{ a: 1, b: { c: [1, null] } }, 4], "a null counts as absent, except in an array");
  channel.deliver("room_diff", { n: 5, patch: { a: null, b: { c: [2] }, e: { f: null, g: 3 } } });
  assert.deepEqual([room.state, room.n], [{ b: { c: [2] }, e: { g: 3 } }, 5]);
  assert.deepEqual(changes.map(({ patch }) => patch), [null, { a: null, b: { c: [2] }, e: { f: null, g: 3 } }]);
  assert.equal(changes[1].state, room.state);
});

test("a state never changes, and unchanged parts are the same objects", () => {
  const { channel, changes, room } = follow();
  channel.deliver("room_state", { n: 1, state: { players: { ada: { x: 1 }, bob: { x: 2 } }, board: [[0], [1]] } });
  const first = room.state;
  const copy = structuredClone(first);
  channel.deliver("room_diff", { n: 2, patch: { players: { ada: { x: 9 } }, board: [[0], [2]] } });
  assert.deepEqual(first, copy);
  assert.deepEqual(room.state, { players: { ada: { x: 9 }, bob: { x: 2 } }, board: [[0], [2]] });
  assert.notEqual(room.state.players, first.players);
  assert.equal(room.state.players.bob, first.players.bob);
  assert.equal(room.state.board[0], first.board[0]);

  // As after a new join.
  const second = room.state;
  channel.deliver("room_state", { n: 3, state: { board: [[0], [2]], players: { bob: { x: 2 }, ada: { x: 9, y: null } } } });
  assert.equal(room.state, second);
  channel.deliver("room_state", { n: 4, state: { board: [[0]], players: second.players } });
  assert.equal(room.state.players, second.players);
  assert.equal(room.state.board[0], second.board[0]);
  assert.deepEqual(room.state.board, [[0]]);
  assert.equal(changes.length, 3, "a new number alone is not a change");
});

test("older changes are ignored, and so are changes after a gap", () => {
  const { channel, changes, room } = follow();
  channel.deliver("room_state", { n: 5, state: { a: 5 } });
  for (const n of [1, 4, 5, 7, 8]) channel.deliver("room_diff", { n, patch: { a: n } });
  assert.deepEqual([room.state, room.n, changes.length], [{ a: 5 }, 5, 1]);
  channel.deliver("room_state", { n: 8, state: { a: 8 } });
  channel.deliver("room_diff", { n: 9, patch: { a: 9 } });
  assert.deepEqual([room.state, room.n], [{ a: 9 }, 9]);
});

test("a room that has begun again counts from one", () => {
  const { channel, room } = follow();
  channel.deliver("room_state", { n: 5, state: { a: 5 } });
  channel.deliver("room_state", { n: 1, state: { b: 1 } });
  channel.deliver("room_diff", { n: 2, patch: { b: 2 } });
  assert.deepEqual([room.state, room.n], [{ b: 2 }, 2]);
});

test("after detach, it ignores messages", () => {
  const { channel, changes, room } = follow();
  const other = new RoomState(channel);
  channel.deliver("room_state", { n: 1, state: { a: 1 } });
  room.detach();
  room.detach();
  channel.deliver("room_diff", { n: 2, patch: { a: 2 } });
  assert.deepEqual([room.state, changes.length, other.state], [{ a: 1 }, 1, { a: 2 }]);
  other.detach();
  assert.equal(channel.size, 0);
});

test("without a reader of the whole state, a change copies only what it changes", () => {
  const channel = new FakeChannel();
  const patches = [];
  const room = new RoomState(channel, { onPatch: (patch) => patches.push(patch) });
  assert.deepEqual([room.get("a"), room.keys()], [undefined, []]);
  channel.deliver("room_state", { n: 1, state: { a: { x: 1, y: null }, b: { x: 2 }, c: null } });
  assert.deepEqual([room.get("a"), room.get("c"), room.get("toString"), room.keys()], [{ x: 1 }, undefined, undefined, ["a", "b"]]);
  const [a, b] = [room.get("a"), room.get("b")];
  const patch = JSON.parse('{"a": {"x": 3, "z": {"v": null}}, "b": {"x": 2}, "c": 4, "__proto__": {"x": 5}}');
  channel.deliver("room_diff", { n: 2, patch });
  channel.deliver("room_diff", { n: 3, patch: { b: { x: 2 } } });
  assert.deepEqual(patches, [null, patch], "a patch that changes nothing isn't a change");
  assert.deepEqual([a, b, room.get("b") === b], [{ x: 1 }, { x: 2 }, true], "a value that was read never changes");
  assert.deepEqual([room.get("a"), room.get("c"), room.get("__proto__")], [{ x: 3, z: {} }, 4, { x: 5 }]);

  // A state that somebody has read never changes either.
  const state = room.state;
  channel.deliver("room_diff", { n: 4, patch: { a: null } });
  channel.deliver("room_diff", { n: 5, patch: { b: null } });
  assert.deepEqual(Object.keys(state), ["a", "b", "c", "__proto__"]);
  assert.deepEqual([room.keys(), room.n, patches.length], [["c", "__proto__"], 5, 4]);
  room.detach();
  assert.equal(channel.size, 0);
});

test("a change of a large object copies it once, and an empty change does nothing", () => {
  const { channel, changes, room } = follow();
  const state = Object.fromEntries(Array.from({ length: 100 }, (_, at) => [`stroke/${at}`, { points: [at, at], by: { name: "ada" } }]));
  channel.deliver("room_state", { n: 1, state });
  const first = room.state;
  channel.deliver("room_diff", { n: 2, patch: {} });
  channel.deliver("room_diff", { n: 3, patch: { "stroke/1": { points: [1, 1], by: {} }, "stroke/none": null } });
  assert.equal(room.state, first, "nothing has changed");
  assert.deepEqual([room.n, changes.length], [3, 1]);
  channel.deliver("room_diff", { n: 4, patch: { "stroke/2": { points: [0] }, "stroke/3": null, "stroke/new": { by: null, points: [] } } });
  for (const key of Object.keys(state).filter((key) => !["stroke/2", "stroke/3"].includes(key))) {
    assert.equal(room.state[key], first[key], key);
  }
  assert.equal(room.state["stroke/2"].by, first["stroke/2"].by);
  assert.deepEqual([room.state["stroke/2"].points, room.state["stroke/new"], "stroke/3" in room.state], [[0], { points: [] }, false]);
  assert.deepEqual([first["stroke/2"].points, "stroke/3" in first], [[2, 2], true]);
});

test("keys with special names in JavaScript are ordinary keys", () => {
  const { channel, room } = follow();
  // Parsed from text, because `__proto__` has another meaning in a literal.
  const json = JSON.parse;
  channel.deliver("room_state", { n: 1, state: json('{"__proto__": {"a": 1}, "constructor": 1}') });
  channel.deliver("room_diff", { n: 2, patch: json('{"__proto__": {"b": 2}, "toString": {"c": 3}, "constructor": null}') });
  assert.equal(JSON.stringify(room.state), '{"__proto__":{"a":1,"b":2},"toString":{"c":3}}');
  assert.equal(Object.getPrototypeOf(room.state), Object.prototype);
  assert.equal({}.a, undefined);
});

test("after any changes, the state equals the published state", () => {
  const random = randomNumbers(1);
  for (let run = 0; run < 100; run += 1) {
    const { channel, room } = follow();
    // This one is read only by keys, except now and then.
    const other = new RoomState(channel);
    const reads = [];
    let [before, seen] = [null, null];
    for (let n = 1; n <= 20; n += 1) {
      const state = before !== null && random(2) ? changed(random, before) : anObject(random, 3);
      const whole = before === null || random(8) === 0;
      const held = structuredClone(seen);
      if (whole) channel.deliver("room_state", { n, state });
      else channel.deliver("room_diff", { n, patch: difference(before, state) });
      assert.deepEqual(seen, held, "the earlier state is unchanged");
      assert.deepEqual(room.state, stripped(state), `run ${run}, change ${n}`);
      assert.equal(room.n, n);
      assert.deepEqual(Object.fromEntries(other.keys().map((key) => [key, other.get(key)])), stripped(state));
      const [read, copy] = random(4) === 0 ? [other.state, structuredClone(other.state)] : [null, null];
      reads.push([read, copy]);
      if (seen !== null) assertKept(seen, room.state);
      [before, seen] = [state, room.state];
    }
    for (const [read, copy] of reads) assert.deepEqual(read, copy, "a state that was read is unchanged");
  }
});

/** Equal parts must be the same object. */
function assertKept(before, after) {
  if (!isComposed(before) || !isComposed(after)) return;
  if (JSON.stringify(sorted(before)) === JSON.stringify(sorted(after))) return assert.equal(after, before);
  for (const key of Object.keys(after)) if (Object.hasOwn(before, key)) assertKept(before[key], after[key]);
}

/** The patch that the server would send. */
function difference(before, after) {
  const patch = {};
  for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
    const [was, is] = [before[key] ?? null, after[key] ?? null];
    if (is === null) {
      if (was !== null) patch[key] = null;
    } else if (isObject(was) && isObject(is)) {
      const inner = difference(was, is);
      if (Object.keys(inner).length > 0) patch[key] = inner;
    } else if (JSON.stringify(was) !== JSON.stringify(is)) patch[key] = is;
  }
  return patch;
}

/** A state without nulls, which count as absent. */
function stripped(value) {
  if (!isObject(value)) return value;
  const entries = Object.entries(value).filter(([, inner]) => inner !== null);
  return Object.fromEntries(entries.map(([key, inner]) => [key, stripped(inner)]));
}

function changed(random, value) {
  const entries = Object.entries(value).map(([key, inner]) => {
    if (random(2)) return [key, inner];
    return [key, isObject(inner) && random(3) ? changed(random, inner) : aValue(random, 2)];
  });
  return Object.fromEntries(entries.filter(() => random(6)));
}

function anObject(random, depth) {
  return Object.fromEntries(Array.from({ length: random(4) }, () => ["abcde"[random(5)], aValue(random, depth - 1)]));
}

function aValue(random, depth) {
  const kind = random(depth > 0 ? 7 : 4);
  if (kind === 4) return Array.from({ length: random(3) }, () => aValue(random, depth - 1));
  return kind > 4 ? anObject(random, depth) : [null, false, random(3), "text"][kind];
}

function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
}

function isComposed(value) {
  return typeof value === "object" && value !== null;
}

function isObject(value) {
  return isComposed(value) && !Array.isArray(value);
}
