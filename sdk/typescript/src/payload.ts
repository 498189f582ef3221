// Payloads: JSON values, or bytes. What the host would refuse is refused here, where the error has the script's own line.
import { encode } from "./text.ts";

/** A payload as the contract has it. */
export type Packed = { tag: "json"; val: string } | { tag: "binary"; val: Uint8Array };

/** Packs any JSON value, or bytes. */
export function pack(value: unknown): Packed {
  if (value instanceof Uint8Array) return { tag: "binary", val: value };
  const val = JSON.stringify(value);
  if (val === undefined) throw new TypeError(`${typeof value} is not a JSON value`);
  return { tag: "json", val };
}

/** Packs the payload of an event to clients: a JSON object, or bytes. */
export function packObject(event: string, value: unknown): Packed {
  name("an event", event);
  if (value instanceof Uint8Array) return { tag: "binary", val: value };
  return { tag: "json", val: objectText(`the payload of \`${event}\``, value) };
}

/** Returns the JSON text of an object. */
export function objectText(what: string, value: unknown): string {
  const text = JSON.stringify(value);
  if (text?.[0] !== "{") {
    throw new TypeError(`${what} must be an object, and not ${value === null ? "null" : Array.isArray(value) ? "an array" : typeof value}`);
  }
  return text;
}

/** Returns the value of a payload. */
export function unpack(payload: Packed): any {
  return payload.tag === "json" ? JSON.parse(payload.val) : payload.val;
}

/** The maximum length of an event, a topic, a key of a presence, and other names, in bytes. */
const NAME_BYTES_MAX = 255;

/** Checks a name that is an argument of an effect. */
export function name(what: string, value: unknown): string {
  text(what, value);
  const { length } = value as string;
  // A character has at most three bytes for each unit of its length.
  if (length > NAME_BYTES_MAX || (length > NAME_BYTES_MAX / 3 && encode(value as string).length > NAME_BYTES_MAX)) {
    throw new RangeError(`${what} has at most ${NAME_BYTES_MAX} bytes`);
  }
  return value as string;
}

/** Checks a text that is an argument of an effect. */
export function text(what: string, value: unknown): string {
  if (typeof value !== "string") throw new TypeError(`${what} must be a string, and not ${typeof value}`);
  // The text can be a client's: its JSON can have what no UTF-8 has.
  if (!value.isWellFormed()) throw new TypeError(`${what} has half of a surrogate pair, which is no text`);
  return value;
}

/** Checks a number that is an argument of an effect. */
export function count(what: string, value: unknown): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw new TypeError(`${what} must be a whole number, and not ${String(value)}`);
  return value as number;
}

/** Checks a duration in milliseconds that is an argument of an effect. */
export function duration(what: string, value: unknown, most: number): number {
  if (count(what, value) > most) throw new RangeError(`${what} is at most ${most} ms`);
  return value as number;
}
