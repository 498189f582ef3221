// What a script finds in its global scope next to the language itself, as the engine has it. Node and browsers have more.

/** Writes lines to the host's log. Counts, timers and groups end with the callback. */
declare const console: {
  debug(...parts: unknown[]): void;
  error(...parts: unknown[]): void;
  info(...parts: unknown[]): void;
  log(...parts: unknown[]): void;
  warn(...parts: unknown[]): void;
  /** Logs the places in the script that lead here, at the level `trace`, which is off by default. */
  trace(...parts: unknown[]): void;
  /** Logs an error if the condition isn't true. */
  assert(condition?: unknown, ...parts: unknown[]): void;
  dir(value: unknown): void;
  /** Logs the first 50 rows and 20 columns, each row as a line. */
  table(data?: unknown, columns?: string[]): void;
  count(label?: string): void;
  countReset(label?: string): void;
  /** Starts a timer of the host's clock. `timeLog` and `timeEnd` log the milliseconds since then. */
  time(label?: string): void;
  timeLog(label?: string, ...parts: unknown[]): void;
  timeEnd(label?: string): void;
  /** Indents the lines up to `groupEnd`. */
  group(...parts: unknown[]): void;
  groupCollapsed(...parts: unknown[]): void;
  groupEnd(): void;
};

/** A copy of a value, as in browsers. What has no copy is a `TypeError`: a function, a symbol, a promise, a generator, shared memory. */
declare function structuredClone<T>(value: T): T;

declare class TextEncoder {
  readonly encoding: string;
  encode(text?: string): Uint8Array;
  /** Writes the whole characters of a text that fit. */
  encodeInto(text: string, to: Uint8Array): { read: number; written: number };
}

/** Decodes UTF-8. Any other label is a `RangeError`. */
declare class TextDecoder {
  /** With `fatal`, bytes that aren't UTF-8 are a `TypeError`, and otherwise replaced. With `ignoreBOM`, a byte order mark stays in the text. */
  constructor(label?: string, options?: { fatal?: boolean; ignoreBOM?: boolean });
  readonly encoding: string;
  readonly fatal: boolean;
  readonly ignoreBOM: boolean;
  /** With `stream`, the next call continues a character that the bytes have only begun. */
  decode(bytes?: ArrayBuffer | ArrayBufferView, options?: { stream?: boolean }): string;
}

declare const performance: {
  readonly timeOrigin: number;
  /** The host's time, in whole milliseconds. In tests and with `bennu dev`, it stands still while a callback runs. */
  now(): number;
};

declare const crypto: {
  getRandomValues<T extends ArrayBufferView>(view: T): T;
  randomUUID(): string;
};
