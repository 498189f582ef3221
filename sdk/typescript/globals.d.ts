// What a script finds in its global scope next to the language itself, as the engine has it. Node and browsers have more.

declare const console: Record<"debug" | "error" | "info" | "log" | "trace" | "warn", (...parts: unknown[]) => void>;

declare function structuredClone<T>(value: T): T;

declare class TextEncoder {
  readonly encoding: string;
  encode(text?: string): Uint8Array;
}

declare class TextDecoder {
  readonly encoding: string;
  decode(bytes?: ArrayBuffer | ArrayBufferView): string;
}

declare const performance: {
  readonly timeOrigin: number;
  /** The host's time, in milliseconds. It stands still while a callback runs. */
  now(): number;
};

declare const crypto: {
  getRandomValues<T extends ArrayBufferView>(view: T): T;
  randomUUID(): string;
};
