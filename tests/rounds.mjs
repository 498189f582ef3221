// How many rounds a test with random input runs. tests/tiers has the numbers, for the tests in Rust too.

import { readFileSync } from "node:fs";
import { join } from "node:path";

const tiers = readFileSync(join(import.meta.dirname, "tiers/src/lib.rs"), "utf8");

/** Whether the tier `full` runs, which has a machine to itself. */
export const isFull = process.env.BENNU_TEST_TIER === "full";

/** The number of rounds of the test called `name` in the current tier. */
export function rounds(name) {
  const found = new RegExp(`test: "${name}", usual: ([0-9_]+), full: ([0-9_]+)`).exec(tiers);
  if (!found) throw new Error(`tests/tiers lists no rounds for ${name}`);
  const [, usual, full] = found;
  return Number((isFull ? full : usual).replaceAll("_", ""));
}

/** Pseudorandom numbers below a bound, the same for a seed in each run. */
export function randomNumbers(seed) {
  let state = seed;
  return (bound) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * bound);
  };
}
