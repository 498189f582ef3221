// The global scope that the test kit of the TypeScript SDK gives to a script in Node, in a callback and while the script is evaluated.
//
//     BENNU=path/to/bennu node --import sdk/typescript/testing/register.mjs globals.mjs

import assert from "node:assert/strict";

// The script comes first: the order of the imports doesn't matter.
import plugin, { first } from "./globals.ts";
import seen from "./helper.mjs";
import { consoleOf } from "../../../sdk/typescript/src/console.ts";
import { phase } from "../../../sdk/typescript/src/phase.ts";
import { places, problemText } from "../../../sdk/typescript/src/problem.ts";
import { isScript } from "../../../sdk/typescript/testing/script.mjs";
import { stage } from "bennu/testing";

assert.deepEqual(first, { time: 1_735_689_600_000, random: 0.8833108082136427, process: "undefined", timeout: "TypeError" });
assert.equal(typeof process, "object");
assert.equal(seen, "object");

const SCRIPTS = [
  'import { channel, plugin } from "bennu";\nexport default plugin({});',
  "import{a}from'bennu';var b=a({});export{b as default};",
  'import*as b from"bennu";export{c,d as default,e};',
  'import b,{c}from"bennu";export default c',
  'export * from "bennu";\nexport { default } from "./a.ts";',
  'import {\n  plugin, // and not "bennu/testing"\n  type Socket,\n} from "bennu";\nexport default plugin({});',
  'if (a) /`/.test(b); c++ / 2; d = `${`"` + /[/`]/}`; /* ` */ import { e } from "bennu"; export default e; // `',
];
for (const text of SCRIPTS) assert.ok(isScript(text), text);
const OTHERS = [
  '/*\nimport { plugin } from "bennu";\n*/\nexport default process.env;',
  'export default `import { plugin } from "bennu";\nexport default 1`;',
  'export default \'import { plugin } from "bennu"\';',
  'import type { Socket } from "bennu";\nexport default (socket: Socket) => socket.id;',
  'import { type Socket, type Topic } from "bennu";\nexport default (socket: Socket) => socket.id;',
  'import { entries } from "bennu";\nexport const all = () => entries.list();',
  'import { entries } from "bennu";\nexport { default as other } from "./a.ts";',
  'import { plugin } from "bennu";\nimport { stage } from "bennu/testing";\nexport default stage(plugin({}));',
];
for (const text of OTHERS) assert.ok(!isScript(text), text);
assert.ok(Date.now() > 1_735_689_600_000 && Math.random() !== first.random);

const host = stage(plugin, { now: 5_000_000_000_000 }), ada = host.join("a:1");
ada.push("look");
assert.deepEqual(ada.assertReply(), { time: 5_000_000_000_000, process: "undefined" });
// A client's JSON can have half of a surrogate pair.
ada.push("say", { text: "\ud83d" });
ada.assertReply();
ada.push("fetch");
assert.match(host.faults[0].detail, /there is no `fetch` in a plugin.*use `http.get`/);
host.join("a:1").push("track", { text: "\ud83d" });
assert.match(host.faults[1].detail, /^TypeError: a key has half of a surrogate pair, which is no text; in .*globals\.ts:/);
host.close();

const lines = [];
let time = 0;
const shown = consoleOf((level, line) => lines.push([level, line]), () => (time += 5));
shown.error(new RangeError("far:1", { cause: new Error("near") }));
assert.match(lines.pop()[1], /^RangeError: far:1; in \S*globals\.mjs:\d+:\d+; caused by Error: near; in \S*globals\.mjs:/);
const installed = ["at push (file:///a/node_modules/bennu-sdk/src/topic.ts:9:5)", "at say (file:///a/plugins/chat.ts:4:3)"];
assert.equal(places({ stack: ["Error: 1:1", ...installed].join("\n    ") }), "; in say (file:///a/plugins/chat.ts:4:3)");
assert.match(problemText(new Error("\ud83d")), /^Error: \ufffd; in /);
const round = { list: [1n, new Map([["k", new Set([1])]])] };
round.self = round;
shown.log("%s of %i%%", 5, 7.5, round, undefined);
assert.deepEqual(lines.pop(), ["info", '5 of 7% {"list":["1n",[["k",[1]]]],"self":"[circular]"} undefined']);
shown.log(NaN, Symbol("s"), { far: [-Infinity, undefined], f() {}, s: Symbol("s"), at: new Date(NaN) });
assert.deepEqual(lines.pop(), ["info", 'NaN Symbol(s) {"far":["-Infinity","undefined"],"f":"[function f]","s":"Symbol(s)","at":"Invalid Date"}']);
const throwing = { get() { throw new Error("no"); } };
shown.log(new Proxy({}, throwing), { toJSON: throwing.get }, Object.defineProperty(new Error("a"), "stack", throwing));
assert.deepEqual(lines.pop(), ["info", "[a value that can't be shown] [a value that can't be shown] Error: a"]);
shown.log(Object.assign(new Error(), { message: Symbol("s"), cause: new Proxy({}, throwing) }));
assert.match(lines.pop()[1], /^Error: Symbol\(s\).*; caused by \[a value that can't be shown\]$/);
shown.table([Object.defineProperty({}, "a", { ...throwing, enumerable: true })]);
shown.count({ toString: throwing.get });
assert.deepEqual(lines.splice(0).map(([, line]) => line), ["[a value that can't be shown]", "[a value that can't be shown]: 1"]);
assert.match(problemText(new Proxy({}, throwing)), /^\[a value that can't be shown\] was thrown/);
// A character has two units in a string, and a cell isn't cut between them.
shown.table([{ a: `${"x".repeat(58)}🐬yyy` }]);
shown.log("\ud83d");
assert.deepEqual(lines.splice(0).map(([, line]) => line), ["(index) | a", `0       | ${"x".repeat(58)}…`, "\ufffd"]);
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
