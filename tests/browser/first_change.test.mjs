// The time from nothing to changed code under two open browser windows, in TypeScript. The suite `languages` has the languages that have a
// compiler.

import assert from "node:assert/strict";
import { test } from "node:test";

import { firstChange } from "../first_change.mjs";

test("a new project is served, and its source changes under two open windows", async (t) => {
  for (const window of await firstChange(t, "ts")) assert.deepEqual(window.troubles, []);
});
