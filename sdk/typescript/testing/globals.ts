// The global scope of a callback: that of the engine, as far as a callback could notice. Node has more of everything else.
import { inspect } from "node:util";
import { ask } from "./kit.ts";

const scope = globalThis as any;
const NodeDate = Date;

class HostDate extends NodeDate {
  constructor(...parts: any[]) {
    super(...((parts.length ? parts : [ask("now")]) as [number]));
  }
  static override now(): number {
    return ask("now");
  }
}

const logger = (level: string) => (...parts: unknown[]) => {
  ask("log", { level, message: parts.map((part) => (typeof part === "string" ? part : inspect(part, { breakLength: Infinity }))).join(" ") });
};

const missing = (name: string, instead: string) => () => {
  throw new TypeError(`there is no \`${name}\` in a plugin, which only runs while it handles a message; use ${instead}`);
};

/** What a callback finds instead of Node's. */
const ENGINE: Record<string, unknown> = {
  Date: HostDate,
  console: { debug: logger("debug"), error: logger("error"), info: logger("info"), log: logger("info"), trace: logger("trace"), warn: logger("warn") },
  fetch: missing("fetch", "a client of the host's API"),
  setInterval: missing("setInterval", "`socket.sendAfter` or `topic.tick`"),
  setTimeout: missing("setTimeout", "`socket.sendAfter`"),
  Buffer: undefined, Intl: undefined, process: undefined,
};

/** Runs a callback with the engine's globals. */
export function inEngine<T>(call: () => T): T {
  const before = Object.fromEntries(Object.keys(ENGINE).map((name) => [name, Object.getOwnPropertyDescriptor(scope, name)!]));
  const random = Math.random;
  try {
    for (const [name, value] of Object.entries(ENGINE)) Object.defineProperty(scope, name, { ...flags, value });
    Math.random = () => (Number(ask("random")) / 2 ** 64) % 1;
    return call();
  } finally {
    Math.random = random;
    for (const [name, own] of Object.entries(before)) Object.defineProperty(scope, name, own);
  }
}

const flags = { configurable: true, enumerable: false, writable: true };
