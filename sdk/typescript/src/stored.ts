import * as entriesOf from "bennu:channel/entries@0.1.0";
import * as hostStore from "bennu:channel/store@0.1.0";
import { count } from "./payload.ts";
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

/** Returns the bounds of a range as bytes, and the rest of its arguments. */
function bounds({ prefix, from, to, reverse = false, limit = 100 }: Range): [any, any, string, number] {
  const starts: Uint8Array[] = [], ends: Uint8Array[] = [];
  if (from !== undefined) starts.push(encode(from));
  if (to !== undefined) ends.push(encode(to));
  if (prefix) starts.push(encode(prefix)), ends.push(after(encode(prefix)));
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

/** Reads the entries of a packed list. */
function packedEntries(packed: Uint8Array): [string, any][] {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength), found: [string, any][] = [];
  for (let at = 0; at < packed.length; ) {
    const key = at + 8, middle = key + view.getUint32(at, true), end = middle + view.getUint32(at + 4, true);
    found.push([decode(packed.subarray(key, middle)), parsed(packed.subarray(middle, end))]);
    at = end;
  }
  return found;
}

function parsed(bytes: Uint8Array): any {
  return JSON.parse(decode(bytes));
}

function json(value: unknown): Uint8Array {
  const text = JSON.stringify(value);
  if (text === undefined) throw new TypeError(`${typeof value} is not a JSON value`);
  return encode(text);
}

/** Storage that outlives the host: ordered keys with JSON values. A callback is a transaction. */
export const store = {
  get<T = any>(key: string): T | undefined {
    onlyInCallbacks("store.get");
    const found = hostStore.get(encode(key));
    return found ? parsed(found) : undefined;
  },
  put(key: string, value: unknown): void {
    onlyInCallbacks("store.put");
    hostStore.put(encode(key), json(value));
  },
  /** Stores a value for a time in milliseconds. After that, no callback sees the key. */
  putExpiring(key: string, value: unknown, milliseconds: number): void {
    onlyInCallbacks("store.putExpiring");
    hostStore.putExpiring(encode(key), json(value), count("a time", milliseconds));
  },
  delete(key: string): void {
    onlyInCallbacks("store.delete");
    hostStore.delete(encode(key));
  },
  list<T = any>(range: Range = {}): [string, T][] {
    onlyInCallbacks("store.list");
    return hostStore.scan(...bounds(range)).map((found: any) => [decode(found.key), parsed(found.value)]);
  },
};

/** The entries of a topic with a room: an ordered map of JSON values, each kept on its own. */
export const entries = {
  get<T = any>(key: string): T | undefined {
    onlyInCallbacks("entries.get");
    const found = entriesOf.get(encode(key));
    return found ? parsed(found) : undefined;
  },
  put(key: string, value: unknown): void {
    onlyInCallbacks("entries.put");
    entriesOf.put(encode(key), json(value));
  },
  delete(key: string): void {
    onlyInCallbacks("entries.delete");
    entriesOf.delete(encode(key));
  },
  list<T = any>(range: Range = {}): [string, T][] {
    onlyInCallbacks("entries.list");
    return packedEntries(entriesOf.scan(...bounds(range)));
  },
  /** Deletes up to `limit` entries of a range from its beginning, and returns their number. */
  deleteRange(range: Range = {}): number {
    onlyInCallbacks("entries.deleteRange");
    const [start, end, , limit] = bounds({ limit: 1000, ...range });
    return entriesOf.deleteRange(start, end, limit);
  },
  /** The member follows only published entries whose keys begin with such a prefix. */
  follow(prefix: string): void {
    onlyInCallbacks("entries.follow");
    entriesOf.follow(prefix);
  },
  unfollow(prefix: string): void {
    onlyInCallbacks("entries.unfollow");
    entriesOf.unfollow(prefix);
  },
};
