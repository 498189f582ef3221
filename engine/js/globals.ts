// What a script finds in its global scope next to what QuickJS has, and the freezing of all of it.
import * as host from "bennu:channel/host@0.1.0";
import { consoleOf } from "bennu/console.ts";
import { clone } from "./clone.ts";
import { TextDecoder, TextEncoder } from "./codec.ts";

const scope = globalThis as any;

function randomBytes(bytes: Uint8Array): Uint8Array {
  for (let at = 0; at < bytes.length; at++) bytes[at] = Math.random() * 256;
  return bytes;
}

scope.console = consoleOf(host.log, () => Number(host.now()));
// The number can be rounded up to 1.
Math.random = () => (Number(host.random()) / 2 ** 64) % 1;
scope.performance = { now: () => Number(host.now()), timeOrigin: 0 };
scope.TextEncoder = TextEncoder;
scope.TextDecoder = TextDecoder;
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
