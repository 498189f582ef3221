// The global scope of a script: that of the engine, as far as a script could notice. Node has more of everything else.
import { consoleOf } from "../src/console.ts";
import { ask, isInCall } from "./running.ts";

const scope = globalThis as any;
const NodeDate = Date, { console: nodeConsole } = scope;

/** The time while a script is evaluated. The engine has another fixed time for each build. */
const EVALUATED_AT = 1_735_689_600_000;

/** The random numbers of an evaluation begin with the same one each time, as those of the engine do. */
let seed = 0n;

/** The next random number of an evaluation: SplitMix64. */
function evaluationRandom(): number {
  const mixed = (value: bigint, by: bigint, factor: bigint) => BigInt.asUintN(64, (value ^ (value >> by)) * factor);
  seed = BigInt.asUintN(64, seed + 0x9e3779b97f4a7c15n);
  const number = mixed(mixed(seed, 30n, 0xbf58476d1ce4e5b9n), 27n, 0x94d049bb133111ebn);
  return Number(number ^ (number >> 31n));
}

/** The host's time, in milliseconds since 1970. */
export const now = (): number => (isInCall() ? ask("now") : EVALUATED_AT);

/** A random number of the host, of 64 bits. */
export const random = (): number => (isInCall() ? Number(ask("random")) : evaluationRandom());

/** Logs a line. While a script is evaluated, Node prints it. */
export const log = (level: string, message: string): void => (isInCall() ? ask("log", { level, message }) : nodeConsole.log(message));

class HostDate extends NodeDate {
  constructor(...parts: any[]) {
    super(...((parts.length ? parts : [now()]) as [number]));
  }
  static override now(): number {
    return now();
  }
}

const missing = (name: string, instead: string) => () => {
  throw new TypeError(`there is no \`${name}\` in a plugin, which only runs while it handles a message; use ${instead}`);
};

/** What a script finds instead of Node's. */
const ENGINE: Record<string, unknown> = {
  Date: HostDate,
  console: consoleOf(log, now),
  fetch: missing("fetch", "`http.get`, or `http.request`"),
  setInterval: missing("setInterval", "`socket.sendAfter` or `topic.tick`"),
  setTimeout: missing("setTimeout", "`socket.sendAfter`"),
  performance: { now, timeOrigin: 0 },
  Buffer: undefined, Intl: undefined, process: undefined,
};

/** How often the scope was entered and not left. */
let depth = 0;
/** What Node has instead. */
let before: [object, string, PropertyDescriptor][] = [];

function enter(): void {
  depth += 1;
  if (depth > 1) return;
  const own = (of: any, name: string, value: unknown) => {
    before.push([of, name, Object.getOwnPropertyDescriptor(of, name)!]);
    Object.defineProperty(of, name, { configurable: true, enumerable: false, writable: true, value });
  };
  for (const [name, value] of Object.entries(ENGINE)) own(scope, name, value);
  own(Math, "random", () => (random() / 2 ** 64) % 1);
}

function leave(): void {
  depth -= 1;
  if (depth > 0) return;
  for (const [of, name, descriptor] of before.splice(0)) Object.defineProperty(of, name, descriptor);
}

/** Runs a callback with the engine's globals. */
export function inEngine<T>(call: () => T): T {
  enter();
  try {
    return call();
  } finally {
    leave();
  }
}

/** Begins the evaluation of a script, with the engine's globals. Returns what ends it. `hooks.mjs` adds both calls to a script. */
export function evaluating(): () => void {
  seed = 0n;
  enter();
  let isOver = false;
  const end = () => {
    if (!isOver) leave();
    isOver = true;
  };
  // A script that throws, or that waits for something, doesn't come to its end now.
  queueMicrotask(end);
  return end;
}
