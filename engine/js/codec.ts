// `TextEncoder` and `TextDecoder`, for UTF-8 only.
import { decode, encode } from "bennu/text.ts";

/** The labels of UTF-8 in the Encoding Standard. */
const LABELS = ["unicode-1-1-utf-8", "unicode11utf8", "unicode20utf8", "utf-8", "utf8", "x-unicode20utf8"];

const isRest = (byte: number) => (byte & 0xc0) === 0x80;

/** How many bytes a character that begins with this byte has. 0 if no character does. */
function sizeOf(first: number): number {
  if (first < 0x80) return 1;
  if (first < 0xc2) return 0;
  return first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
}

/**
 * The number of bytes of the character at a position. A negative number says how many bytes are none, and become one replacement
 * character. No character has a longer form than it needs, or is half of a surrogate pair.
 */
function characterAt(bytes: Uint8Array, at: number): number {
  const first = bytes[at], size = sizeOf(first);
  if (size === 0) return -1;
  for (let more = 1; more < size; more++) {
    const low = more > 1 ? 0x80 : first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
    const high = more > 1 ? 0xbf : first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
    const byte = bytes[at + more] ?? 0;
    if (byte < low || byte > high) return -more;
  }
  return size;
}

/**
 * The text of bytes of which some aren't UTF-8. Each of a client's bytes can be such a one, so there is one copy, in which replacement
 * characters stand for them, and one call of `decode`.
 */
function lossy(bytes: Uint8Array): string {
  const { length } = bytes, whole = new Uint8Array(3 * length);
  let at = 0, end = 0;
  while (at < length) {
    const first = bytes[at];
    if (first < 0x80) {
      whole[end++] = first;
      at += 1;
      continue;
    }
    // A byte that begins no character is found here: a call for each of them would take as long as all the rest.
    const size = first < 0xc2 || first > 0xf4 ? -1 : characterAt(bytes, at);
    if (size > 0) {
      for (const next = at + size; at < next; ) whole[end++] = bytes[at++];
    } else {
      whole[end++] = 0xef;
      whole[end++] = 0xbf;
      whole[end++] = 0xbd;
      at -= size;
    }
  }
  return decode(whole.subarray(0, end));
}

/** The number of bytes without a character at the end that is only begun. */
function completeLength(bytes: Uint8Array): number {
  const { length } = bytes;
  for (let at = length - 1; at >= 0 && at > length - 4; at--) {
    if (isRest(bytes[at])) continue;
    const isBegun = sizeOf(bytes[at]) > length - at && characterAt(bytes, at) === at - length;
    return isBegun ? at : length;
  }
  return length;
}

function bytesOf(given: any): Uint8Array {
  if (given === undefined) return new Uint8Array();
  if (ArrayBuffer.isView(given)) return new Uint8Array(given.buffer, given.byteOffset, given.byteLength);
  if (given instanceof ArrayBuffer) return new Uint8Array(given);
  throw new TypeError("the bytes must be an ArrayBuffer, or a view of one");
}

function joined(one: Uint8Array, other: Uint8Array): Uint8Array {
  if (one.length === 0) return other;
  const all = new Uint8Array(one.length + other.length);
  all.set(one);
  all.set(other, one.length);
  return all;
}

export class TextEncoder {
  get encoding() { return "utf-8"; }

  encode(text: string = ""): Uint8Array {
    return encode(String(text));
  }

  /** Writes the whole characters of a text that fit. Returns how much of the text they are, and their bytes. */
  encodeInto(text: string, to: Uint8Array): { read: number; written: number } {
    if (!(to instanceof Uint8Array)) throw new TypeError("the destination must be a Uint8Array");
    const given = String(text), bytes = encode(given);
    let written = Math.min(bytes.length, to.length), read = given.length;
    if (written < bytes.length) {
      while (written > 0 && isRest(bytes[written])) written -= 1;
      read = 0;
      // A character of four bytes has two units in a string.
      for (let at = 0; at < written; at += sizeOf(bytes[at])) read += sizeOf(bytes[at]) === 4 ? 2 : 1;
    }
    to.set(bytes.subarray(0, written));
    return { read, written };
  }
}

export class TextDecoder {
  #fatal: boolean;
  #ignoreBOM: boolean;
  /** The bytes of a character that a stream has only begun. */
  #begun = new Uint8Array();
  /** Whether the stream has begun, so that its mark has been seen. */
  #isInside = false;

  constructor(label: string = "utf-8", { fatal = false, ignoreBOM = false }: { fatal?: boolean; ignoreBOM?: boolean } = {}) {
    if (!LABELS.includes(String(label).trim().toLowerCase())) {
      throw new RangeError(`the encoding \`${label}\` isn't known; a plugin decodes UTF-8 only`);
    }
    [this.#fatal, this.#ignoreBOM] = [Boolean(fatal), Boolean(ignoreBOM)];
  }

  get encoding() { return "utf-8"; }
  get fatal() { return this.#fatal; }
  get ignoreBOM() { return this.#ignoreBOM; }

  decode(given?: ArrayBuffer | ArrayBufferView, { stream = false }: { stream?: boolean } = {}): string {
    const bytes = joined(this.#begun, bytesOf(given)), end = stream ? completeLength(bytes) : bytes.length;
    const isInside = this.#isInside;
    this.#begun = stream ? bytes.slice(end) : new Uint8Array();
    this.#isInside = stream && (isInside || end > 0);
    const text = this.#textOf(bytes.subarray(0, end));
    return !isInside && !this.#ignoreBOM && text[0] === "\ufeff" ? text.slice(1) : text;
  }

  #textOf(bytes: Uint8Array): string {
    try {
      return decode(bytes);
    } catch {
      if (!this.#fatal) return lossy(bytes);
      this.#isInside = false;
      this.#begun = new Uint8Array();
      throw new TypeError("the bytes aren't UTF-8");
    }
  }
}
