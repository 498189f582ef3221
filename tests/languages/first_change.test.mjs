// The time from nothing to changed code under two open browser windows, in the languages that have a compiler. The suite `browser` has
// TypeScript.

import { test } from "node:test";

import { firstChange } from "../first_change.mjs";

for (const lang of ["rust", "go", "python"]) {
  test(`a new project in ${lang} is served, and its source changes under two open windows`, (t) => firstChange(t, lang));
}
