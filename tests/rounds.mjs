// How many rounds a test with random input runs, what a test requires of a measurement, and which tests only the full tier runs.
// tests/tiers says it, for the tests in Rust too.

import { readFileSync } from "node:fs";
import { join } from "node:path";

const read = (name) => readFileSync(join(import.meta.dirname, "tiers/src", name), "utf8");
const [tiers, bounds, skipped] = [read("lib.rs"), read("bounds.rs"), read("skipped.rs")];

/** Whether the tier `full` runs. */
const isFull = process.env.BENNU_TEST_TIER === "full";

/** The number of rounds of the test called `name` in the current tier. */
export function rounds(name) {
  const found = new RegExp(`test: "${name}", usual: ([0-9_]+), full: ([0-9_]+)`).exec(tiers);
  if (!found) throw new Error(`tests/tiers lists no rounds for ${name}`);
  const [, usual, full] = found;
  return Number((isFull ? full : usual).replaceAll("_", ""));
}

/** What the test called `name` requires in the current tier. Infinity if it requires nothing. */
export function bound(name) {
  const found = new RegExp(`test: "${name}", usual: (?:None|Some\\(([0-9_]+)\\)), full: ([0-9_]+)`).exec(bounds);
  if (!found) throw new Error(`tests/tiers lists no bound for ${name}`);
  const [, usual = "Infinity", full] = found;
  return Number((isFull ? full : usual).replaceAll("_", ""));
}

/** Why the test called `name` is skipped in the current tier, for the option `skip` of a test. False if it runs. */
export function onlyInFull(name) {
  const found = new RegExp(`test: "${name}",\\s+why: "([^"]+)"`).exec(skipped);
  if (!found) throw new Error(`tests/tiers doesn't list ${name}`);
  return !isFull && `only in \`cargo xtask test full\`: ${found[1]}`;
}

/** Pseudorandom numbers below a bound, the same for a seed in each run. */
export function randomNumbers(seed) {
  let state = seed;
  return (bound) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * bound);
  };
}
