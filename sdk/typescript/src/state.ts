import { decode, encode } from "./text.ts";

/** A state that the host keeps: read when a callback first asks for it, and given back if it is another one then. */
export class CallState<T> {
  // Each call makes such a value, which a script never gets. In QuickJS, private fields and initializers would take longer.
  private declare kept: Uint8Array | null | undefined;
  private declare first: string;
  private declare before: string | undefined;
  private declare current: T | undefined;
  private declare isCleared: boolean;

  /** `first` is the JSON of the state of a member or topic that has none. Its fields are also the defaults of an older state. */
  constructor(bytes: Uint8Array | null | undefined, first: string) {
    this.kept = bytes;
    this.first = first;
    this.before = this.current = undefined;
    this.isCleared = false;
  }

  get value(): T {
    if (this.current === undefined) {
      const first = JSON.parse(this.first);
      if (this.kept?.length) this.before = decode(this.kept);
      this.current = this.before === undefined ? first : Object.assign(first, JSON.parse(this.before));
    }
    return this.current as T;
  }

  set value(value: T) {
    this.isCleared = false;
    if (this.kept?.length && this.before === undefined) this.before = decode(this.kept);
    this.current = value;
  }

  /** Deletes the state. The next callback gets the first one again. */
  clear(): void {
    this.current = JSON.parse(this.first);
    this.isCleared = true;
  }

  /** The bytes of the new state, if it has changed. No bytes delete it. */
  get changed(): Uint8Array | undefined {
    if (this.current === undefined) return undefined;
    const after = JSON.stringify(this.current);
    if (after === undefined) throw new TypeError("a state must be a JSON value");
    if (this.isCleared && after === this.first) return new Uint8Array();
    return after === this.before ? undefined : encode(after);
  }

  /** The bytes of the state, whether it has changed or not. */
  get bytes(): Uint8Array {
    return encode(JSON.stringify(this.value));
  }
}
