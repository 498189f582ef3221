// The callback that runs, and what it can ask its kit.
import { Buffer } from "node:buffer";
import type { Packed } from "../src/payload.ts";

type Fields = Record<string, any>;

/** What fired a schedule or a cron line. */
export interface Fired {
  due_ms: number | null;
  key: string | null;
}

/** The kit of a callback. */
interface Running {
  ask(what: string, given: Fields): any;
  /** What the callback was fired by. */
  fired: Fired | undefined;
}

/** The kit whose callback runs. */
let running: Running | undefined;

/** A callback of this kit begins, or has ended. */
export function runs(kit: Running | undefined): void {
  running = kit;
}

/** Calls a function of the host for the running callback. */
export function ask(what: string, given: Fields = {}): any {
  if (!running) throw new Error(`\`${what}\` can only be used in a callback`);
  return running.ask(what, given);
}

/** Whether a callback runs. */
export function isInCall(): boolean {
  return running !== undefined;
}

/** When the schedule or cron line of the running callback was due, and its key. Null for all other callbacks. */
export function fired(): Fired {
  return running?.fired ?? { due_ms: null, key: null };
}

/** The base64 of bytes. */
export function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}

/** The fields of a payload. */
export function fields(payload: Packed): Fields {
  return payload.tag === "json" ? { payload_text: payload.val } : { payload_base64: base64(payload.val) };
}
