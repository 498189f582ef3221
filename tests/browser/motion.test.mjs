// How the games' page interpolates movement from received states. This test needs no browser.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Motion } from "../../guest-examples/game/page/motion.js";

const at = (x, y = 0) => new Map([["0", { x, y }]]);
const shown = (motion, now) => motion.at(now).get("0");

test("a position is interpolated between the two states of a tenth of a second ago", () => {
  const motion = new Motion();
  assert.equal(shown(motion, 0), undefined);
  for (const [now, x] of [[1000, 0], [1050, 10], [1100, 20]]) motion.push(at(x, 2 * x), now);
  assert.deepEqual(shown(motion, 1125), { x: 5, y: 10 });
  assert.deepEqual(shown(motion, 1160), { x: 12, y: 24 });
  assert.deepEqual(shown(motion, 5000), { x: 20, y: 40 }, "the last position is kept until the next one");
});

test("a runner that starts after a rest starts from its position", () => {
  const motion = new Motion();
  motion.push(at(0), 1000);
  motion.push(at(10), 9000);
  assert.deepEqual(shown(motion, 9040), { x: 0, y: 0 });
  assert.deepEqual(shown(motion, 9075), { x: 5, y: 0 });
});

test("a runner that was moved far away jumps there at once", () => {
  const motion = new Motion();
  motion.push(at(0), 1000);
  motion.push(at(800), 1050);
  assert.deepEqual(shown(motion, 1110), { x: 800, y: 0 });
});

test("a new runner appears at once, and a removed runner disappears", () => {
  const motion = new Motion();
  motion.push(at(0), 1000);
  motion.push(new Map([["1", { x: 7, y: 7 }]]), 1050);
  assert.deepEqual([...motion.at(1110)], [["1", { x: 7, y: 7 }]]);
});
