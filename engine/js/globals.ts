// What a script finds in its global scope next to what QuickJS has, and the freezing of all of it.
import * as host from "bennu:channel/host@0.1.0";
import { decode, encode } from "bennu/text.ts";

const scope = globalThis as any;

/** The text of a value in a log line. */
function shown(value: unknown): string {
  if (typeof value === "string") return value;
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  if (value instanceof Map || value instanceof Set) return `${value.constructor.name} ${shown([...value])}`;
  try {
    return JSON.stringify(value, (_, part) => (typeof part === "bigint" ? `${part}n` : part)) ?? String(value);
  } catch {
    return String(value);
  }
}

function logger(level: string) {
  return (...parts: unknown[]) => host.log(level, parts.map(shown).join(" "));
}

/** A copy of a value, also of one that contains itself. */
function clone(value: any, copies: Map<unknown, unknown>): any {
  if (typeof value === "function" || typeof value === "symbol") throw new TypeError(`a ${typeof value} can't be cloned`);
  if (typeof value !== "object" || value === null) return value;
  if (copies.has(value)) return copies.get(value);
  const keep = (copy: any) => (copies.set(value, copy), copy);
  if (value instanceof Date) return keep(new Date(value.getTime()));
  if (value instanceof RegExp) return keep(new RegExp(value.source, value.flags));
  if (value instanceof ArrayBuffer) return keep(value.slice(0));
  if (ArrayBuffer.isView(value)) return keep((value as any).slice());
  if (value instanceof Map) {
    const copy = keep(new Map());
    value.forEach((part, key) => copy.set(clone(key, copies), clone(part, copies)));
    return copy;
  }
  if (value instanceof Set) {
    const copy = keep(new Set());
    value.forEach((part) => copy.add(clone(part, copies)));
    return copy;
  }
  const copy = keep(value instanceof Error ? Object.assign(new Error(value.message), { name: value.name }) : Array.isArray(value) ? [] : {});
  for (const key of Object.keys(value)) copy[key] = clone(value[key], copies);
  return copy;
}

function randomBytes(bytes: Uint8Array): Uint8Array {
  for (let at = 0; at < bytes.length; at++) bytes[at] = Math.random() * 256;
  return bytes;
}

scope.console = {
  debug: logger("debug"), error: logger("error"), info: logger("info"), log: logger("info"), trace: logger("trace"), warn: logger("warn"),
};
// The number can be rounded up to 1.
Math.random = () => (Number(host.random()) / 2 ** 64) % 1;
scope.performance = { now: () => Number(host.now()), timeOrigin: 0 };
scope.TextEncoder = class TextEncoder {
  get encoding() { return "utf-8"; }
  encode(text: string = "") { return encode(String(text)); }
};
scope.TextDecoder = class TextDecoder {
  get encoding() { return "utf-8"; }
  decode(bytes?: any) {
    if (bytes === undefined) return "";
    return decode(ArrayBuffer.isView(bytes) ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength) : new Uint8Array(bytes));
  }
};
scope.structuredClone = (value: unknown) => clone(value, new Map());
scope.crypto = {
  getRandomValues<T extends ArrayBufferView>(view: T): T {
    randomBytes(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
    return view;
  },
  randomUUID() {
    const bytes = randomBytes(new Uint8Array(16)) as any;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    return bytes.toHex().replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  },
};
for (const [name, instead] of [["setTimeout", "`socket.sendAfter`"], ["setInterval", "`socket.sendAfter` or `topic.tick`"], ["fetch", "`http.get`, or `http.request`"]]) {
  scope[name] = () => {
    throw new TypeError(`there is no \`${name}\` in a plugin, which only runs while it handles a message; use ${instead}`);
  };
}

/** An assignment to an object would fail if its prototype had a frozen property of that name. So these become accessors. */
function allowOverrides(prototype: any, names: string[]) {
  for (const name of names) {
    const value = prototype[name];
    Object.defineProperty(prototype, name, {
      get: () => value,
      set(this: any, other: unknown) {
        Object.defineProperty(this, name, { value: other, writable: true, enumerable: true, configurable: true });
      },
      enumerable: false,
      configurable: false,
    });
  }
}

allowOverrides(Object.prototype, ["constructor", "hasOwnProperty", "toString", "valueOf"]);
allowOverrides(Error.prototype, ["constructor", "message", "name", "toString"]);

/** Freezes a value and what can be reached from it. A script can't change what other scripts of its instance rely on. */
function freeze(value: any, frozen: Set<unknown>) {
  if ((typeof value !== "object" && typeof value !== "function") || value === null || frozen.has(value)) return;
  frozen.add(value);
  for (const key of Reflect.ownKeys(value)) {
    const { value: part, get, set } = Object.getOwnPropertyDescriptor(value, key)!;
    freeze(part ?? get, frozen);
    freeze(set, frozen);
  }
  Object.freeze(value);
  freeze(Object.getPrototypeOf(value), frozen);
}

const frozen = new Set<unknown>([globalThis]);
for (const name of Object.getOwnPropertyNames(globalThis)) freeze(scope[name], frozen);
for (const hidden of [async () => {}, function* () {}, async function* () {}, [][Symbol.iterator](), new Map().entries(), new Set().values(), ""[Symbol.iterator]()]) {
  freeze(Object.getPrototypeOf(hidden), frozen);
}
