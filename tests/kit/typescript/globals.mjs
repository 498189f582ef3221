// The global scope that the test kit of the TypeScript SDK gives to a script in Node, in a callback and while the script is evaluated.
//
//     BENNU=path/to/bennu node --import sdk/typescript/testing/register.mjs globals.mjs

import assert from "node:assert/strict";

// The script comes first: the order of the imports doesn't matter.
import plugin, { first } from "./globals.ts";
import { consoleOf } from "../../../sdk/typescript/src/console.ts";
import { phase } from "../../../sdk/typescript/src/phase.ts";
import { stage } from "bennu/testing";

assert.deepEqual(first, { time: 1_735_689_600_000, random: 0.8833108082136427, process: "undefined", timeout: "TypeError" });
assert.equal(typeof process, "object");
assert.ok(Date.now() > 1_735_689_600_000 && Math.random() !== first.random);

const host = stage(plugin, { now: 5_000_000_000_000 }), ada = host.join("a:1");
ada.push("look");
assert.deepEqual(ada.assertReply(), { time: 5_000_000_000_000, process: "undefined" });
ada.push("fetch");
assert.match(host.faults[0].detail, /there is no `fetch` in a plugin.*use `http.get`/);
host.close();

const lines = [];
let time = 0;
const shown = consoleOf((level, line) => lines.push([level, line]), () => (time += 5));
shown.error(new RangeError("far", { cause: new Error("near") }));
assert.match(lines.pop()[1], /^RangeError: far; in .*globals\.mjs:\d+:\d+; caused by Error: near; in .*globals\.mjs:/);
const round = { list: [1n, new Map([["k", new Set([1])]])] };
round.self = round;
shown.log("%s of %i%%", 5, 7.5, round, undefined);
assert.deepEqual(lines.pop(), ["info", '5 of 7% {"list":["1n",[["k",[1]]]],"self":"[circular]"} undefined']);
shown.table(Array.from({ length: 60 }, (_, n) => ({ n, long: "x".repeat(100) })));
const table = lines.splice(0).map(([, line]) => line);
assert.deepEqual([table.length, table[0], table[1].length, table.at(-1)], [52, "(index) | n  | long", 75, "and 10 more rows"]);
shown.time("t");
shown.timeLog("t", 1);
shown.group("g");
shown.timeEnd("t");
shown.timeEnd("t");
shown.count();
shown.countReset();
shown.countReset();
phase.calls += 1;
shown.count();
shown.trace("here");
assert.deepEqual(lines.slice(0, -1), [
  ["info", "t: 5 ms 1"], ["info", "g"], ["info", "  t: 10 ms"], ["warn", "  there is no timer `t` in this callback"],
  ["info", "  default: 1"], ["warn", "  there is no count `default` in this callback"], ["info", "default: 1"],
]);
assert.match(lines.at(-1)[1], /^Trace: here; in .*globals\.mjs:/);
console.log("ok      globals");
