import { decode, encode } from "./text.ts";

/** A state that the host keeps: read when a callback first asks for it, and given back if it is another one then. */
export class CallState<T> {
  #bytes: Uint8Array | null | undefined;
  #first: string;
  #before: string | undefined;
  #value: T | undefined;
  #isCleared = false;

  /** `first` is the JSON of the state of a member or topic that has none. Its fields are also the defaults of an older state. */
  constructor(bytes: Uint8Array | null | undefined, first: string) {
    this.#bytes = bytes;
    this.#first = first;
  }

  get value(): T {
    if (this.#value === undefined) {
      const first = JSON.parse(this.#first);
      if (this.#bytes?.length) this.#before = decode(this.#bytes);
      this.#value = this.#before === undefined ? first : Object.assign(first, JSON.parse(this.#before));
    }
    return this.#value as T;
  }

  set value(value: T) {
    this.#isCleared = false;
    if (this.#bytes?.length && this.#before === undefined) this.#before = decode(this.#bytes);
    this.#value = value;
  }

  /** Deletes the state. The next callback gets the first one again. */
  clear(): void {
    this.#value = JSON.parse(this.#first);
    this.#isCleared = true;
  }

  /** The bytes of the new state, if it has changed. No bytes delete it. */
  get changed(): Uint8Array | undefined {
    if (this.#value === undefined) return undefined;
    const after = JSON.stringify(this.#value);
    if (after === undefined) throw new TypeError("a state must be a JSON value");
    if (this.#isCleared && after === this.#first) return new Uint8Array();
    return after === this.#before ? undefined : encode(after);
  }

  /** The bytes of the state, whether it has changed or not. */
  get bytes(): Uint8Array {
    return encode(JSON.stringify(this.value));
  }
}
