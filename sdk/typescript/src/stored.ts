import * as entriesOf from "bennu:channel/entries@0.1.0";
import * as hostStore from "bennu:channel/store@0.1.0";
import { count, name, text } from "./payload.ts";
import { onlyInCallbacks } from "./phase.ts";
import { decode, encode } from "./text.ts";

/** A range of keys: those that satisfy all of its conditions. */
export interface Range {
  /** The keys that begin with this text. */
  prefix?: string;
  /** The first key of the range. */
  from?: string;
  /** The first key after the range. */
  to?: string;
  /** From the last key to the first. */
  reverse?: boolean;
  /** At most so many, up to 1,000. */
  limit?: number;
}

/** Returns the bytes of a key. */
function bytesOf(key: string): Uint8Array {
  return encode(text("a key", key));
}

/** Checks a value that is stored as it is. */
function raw(value: Uint8Array): Uint8Array {
  if (!(value instanceof Uint8Array)) throw new TypeError(`the value must be a Uint8Array, and not ${typeof value}`);
  return value;
}

/** Returns the bounds of a range as bytes, and the rest of its arguments. */
function bounds({ prefix, from, to, reverse = false, limit = 100 }: Range): [any, any, string, number] {
  const starts: Uint8Array[] = [], ends: Uint8Array[] = [];
  if (from !== undefined) starts.push(bytesOf(from));
  if (to !== undefined) ends.push(bytesOf(to));
  if (prefix) starts.push(bytesOf(prefix)), ends.push(after(bytesOf(prefix)));
  return [starts.sort(order).at(-1), ends.sort(order)[0], reverse ? "backward" : "forward", limit];
}

/** Compares keys as the host orders them: by their bytes. */
function order(one: Uint8Array, other: Uint8Array): number {
  const at = one.findIndex((byte, at) => byte !== other[at]);
  return at < 0 ? one.length - other.length : one[at] - (other[at] ?? -1);
}

/** Returns the first key after all keys with this prefix. UTF-8 has no byte 255, so the last byte can be incremented. */
function after(prefix: Uint8Array): Uint8Array {
  const next = prefix.slice();
  next[next.length - 1]++;
  return next;
}

/** Reads a packed list, as wit/entries.wit describes it. Each item has so many parts. A value that is absent has no bytes. */
function unpacked(packed: Uint8Array, parts: number): (Uint8Array | undefined)[][] {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength), items = [];
  for (let at = 0; at < packed.length; ) {
    let from = at + 4 * parts;
    const item = [];
    for (let part = 0; part < parts; part++) {
      const length = view.getUint32(at + 4 * part, true);
      item.push(length === ABSENT ? undefined : packed.subarray(from, (from += length)));
    }
    items.push(item);
    at = from;
  }
  return items;
}

/** The length of a value that is absent. */
const ABSENT = 2 ** 32 - 1;

/** Makes a packed list. */
function packedList(items: Uint8Array[][]): Uint8Array {
  const all = new Uint8Array(items.flat().reduce((sum, part) => sum + 4 + part.length, 0)), view = new DataView(all.buffer);
  let at = 0;
  for (const item of items) {
    for (const part of item) view.setUint32((at += 4) - 4, part.length, true);
    for (const part of item) all.set(part, (at += part.length) - part.length);
  }
  return all;
}

function parsed(bytes: Uint8Array): any {
  return JSON.parse(decode(bytes));
}

function json(value: unknown): Uint8Array {
  const made = JSON.stringify(value);
  if (made === undefined) throw new TypeError(`${typeof value} is not a JSON value`);
  return encode(made);
}

/**
 * Storage that outlives the host: keys in the order of their bytes, each with a JSON value or with bytes. A callback is a transaction,
 * and reads its own writes. A key has 1 to 1,024 bytes, and a value at most 1 MiB. A callback writes at most 1,024 keys and 4 MiB.
 * A gatekeeper and `intercept` can only read.
 */
export const store = {
  /** The value of a key, or `undefined`. */
  get<T = any>(key: string): T | undefined {
    onlyInCallbacks("store.get");
    const found = hostStore.get(bytesOf(key));
    return found ? parsed(found) : undefined;
  },
  put(key: string, value: unknown): void {
    onlyInCallbacks("store.put");
    hostStore.put(bytesOf(key), json(value));
  },
  /** Stores a value for a time in milliseconds. After that, no callback sees the key. */
  putExpiring(key: string, value: unknown, milliseconds: number): void {
    onlyInCallbacks("store.putExpiring");
    hostStore.putExpiring(bytesOf(key), json(value), count("a time", milliseconds));
  },
  delete(key: string): void {
    onlyInCallbacks("store.delete");
    hostStore.delete(bytesOf(key));
  },
  /** The keys of a range with their values: 100, or up to `limit`, which is at most 1,000. It ends early after 1 MiB. */
  list<T = any>(range: Range = {}): [string, T][] {
    onlyInCallbacks("store.list");
    return hostStore.scan(...bounds(range)).map((found: any) => [decode(found.key), parsed(found.value)]);
  },
  /** The bytes of a key, or `undefined`. */
  getBytes(key: string): Uint8Array | undefined {
    onlyInCallbacks("store.getBytes");
    return hostStore.get(bytesOf(key)) ?? undefined;
  },
  putBytes(key: string, value: Uint8Array): void {
    onlyInCallbacks("store.putBytes");
    hostStore.put(bytesOf(key), raw(value));
  },
  listBytes(range: Range = {}): [string, Uint8Array][] {
    onlyInCallbacks("store.listBytes");
    return hostStore.scan(...bounds(range)).map((found: any) => [decode(found.key), found.value]);
  },
};

/**
 * The entries of a topic with a room: an ordered map of JSON values or bytes, each kept on its own. They live as long as the room, and
 * are stored if it is `durable`. A key has 1 to 255 bytes, and a value at most 1 MiB. A callback writes at most 4,096 entries and 4 MiB.
 * An entry whose key begins with a prefix of `publishes` must be a JSON value, and not null. In `intercept`, and in a topic without a
 * room, each function is a fault.
 */
export const entries = {
  /** The value of a key, or `undefined`. */
  get<T = any>(key: string): T | undefined {
    onlyInCallbacks("entries.get");
    const found = entriesOf.get(bytesOf(key));
    return found ? parsed(found) : undefined;
  },
  put(key: string, value: unknown): void {
    onlyInCallbacks("entries.put");
    entriesOf.put(bytesOf(key), json(value));
  },
  delete(key: string): void {
    onlyInCallbacks("entries.delete");
    entriesOf.delete(bytesOf(key));
  },
  /** The values of several keys, at most 1,000, in the order of the keys. */
  getMany<T = any>(keys: string[]): (T | undefined)[] {
    onlyInCallbacks("entries.getMany");
    return unpacked(entriesOf.getMany(packedList(keys.map((key) => [bytesOf(key)]))), 1).map(([value]) => value && parsed(value));
  },
  putMany(all: [string, unknown][]): void {
    onlyInCallbacks("entries.putMany");
    entriesOf.putMany(packedList(all.map(([key, value]) => [bytesOf(key), json(value)])));
  },
  /** The entries of a range: 100, or up to `limit`, which is at most 1,000. It ends early after 1 MiB. */
  list<T = any>(range: Range = {}): [string, T][] {
    onlyInCallbacks("entries.list");
    return unpacked(entriesOf.scan(...bounds(range)), 2).map(([key, value]) => [decode(key!), parsed(value!)]);
  },
  /** The bytes of a key, or `undefined`. */
  getBytes(key: string): Uint8Array | undefined {
    onlyInCallbacks("entries.getBytes");
    return entriesOf.get(bytesOf(key)) ?? undefined;
  },
  putBytes(key: string, value: Uint8Array): void {
    onlyInCallbacks("entries.putBytes");
    entriesOf.put(bytesOf(key), raw(value));
  },
  listBytes(range: Range = {}): [string, Uint8Array][] {
    onlyInCallbacks("entries.listBytes");
    return unpacked(entriesOf.scan(...bounds(range)), 2).map(([key, value]) => [decode(key!), value!.slice()]);
  },
  /** Deletes up to `limit` entries of a range from its beginning, at most 1,000, and returns their number. */
  deleteRange(range: Range = {}): number {
    onlyInCallbacks("entries.deleteRange");
    const [start, end, , limit] = bounds({ limit: 1000, ...range });
    return entriesOf.deleteRange(start, end, limit);
  },
  /** The member follows only published entries whose keys begin with such a prefix. At most 64 prefixes. Without a call, it follows all. */
  follow(prefix: string): void {
    onlyInCallbacks("entries.follow");
    entriesOf.follow(name("a prefix", prefix));
  },
  /** The member no longer follows this prefix. */
  unfollow(prefix: string): void {
    onlyInCallbacks("entries.unfollow");
    entriesOf.unfollow(name("a prefix", prefix));
  },
};
