/** Tests of a plugin natively, in Node. `bennu kit` is the host, so its rules are those of a real one. */

import type { Channel } from "../src/channel.ts";
import { pack } from "../src/payload.ts";
import { frameOf } from "./frames.ts";
import type { Frame } from "./frames.ts";
import { Kit } from "./kit.ts";
import { fields } from "./running.ts";

type Channels = Record<string, Channel<any, any>>;

/** Who connects. */
export interface Identity {
  user?: string;
  socketId?: string;
  claims?: object;
  params?: object;
  xHeaders?: [string, string][];
}

/** What a host gives to the plugin. */
export interface HostOptions {
  /** The plugin's configuration. */
  config?: object;
  /** Topics that it may publish to, and read about, besides its own. */
  publish?: string[];
  read?: string[];
  /** The time, in milliseconds since 1970. */
  now?: number;
}

/** A schedule of the plugin. */
export interface Scheduled {
  topic: string;
  key: string;
  /** In milliseconds since 1970. */
  due: number;
  event: string;
  /** Whether it has failed five times. */
  givenUp: boolean;
}

/** A delivery of the plugin. */
export interface Delivery {
  id: string;
  url: string;
  headers: Record<string, string>;
  /** The body as text, or as bytes if it isn't UTF-8. */
  body: string | Uint8Array;
  order?: string;
  /** `refused` is the answer 410, or 404 to a push message. */
  state: "waiting" | "accepted" | "refused" | "given-up";
  failures: number;
}

/** The answer to requests by HTTP: a response, whose status is 200 if nothing else is given, or the kind of a failure, such as `timeout`. */
export type HttpAnswer = { status?: number; headers?: Record<string, string>; json?: unknown; body?: string } | { failure: string };

/** A fault of a callback. */
export interface Fault {
  kind: string;
  detail: string;
}

/** The reply to a join that didn't succeed. */
export class NotJoined extends Error {
  readonly response: any;
  constructor(response: any) {
    super(`the join ended with an error reply: ${JSON.stringify(response)}`);
    this.response = response;
  }
}

/** Starts a host that serves a plugin: the default export of a script. */
export function stage(plugin: Channels, options: HostOptions = {}): Stage {
  return new Stage(plugin, options);
}

/** A host without sockets. Its clock only moves with `advance`. */
export class Stage {
  #kit: Kit;

  constructor(plugin: Channels, options: HostOptions) {
    this.#kit = new Kit(plugin);
    this.#kit.do("host", options);
  }

  /** A new client joins a topic. Throws a `NotJoined` if it is refused. */
  join(topic: string, params: object = {}, who: Identity = {}): Actor {
    const { socketId: socket_id, xHeaders: x_headers, ...same } = who;
    return new Actor(this, this.#kit, this.#kit.do("connect", { ...same, socket_id, x_headers }), topic, params);
  }

  /** Time passes: timers and schedules fire, deliveries are sent, topics tick, grace periods of seats end. */
  advance(milliseconds: number): void {
    this.#kit.do("advance", { ms: milliseconds });
  }

  /** Another program broadcasts an event to a topic. */
  broadcast(topic: string, event: string, payload: object = {}): void {
    this.#kit.do("broadcast", { topic, event, payload });
  }

  /** Another program sends a message to a topic, for its `message`. Returns the answer, if there is one. */
  send(topic: string, event: string, payload: unknown = {}): { status: string; payload: any } | null {
    return this.#kit.do("send", { topic, event, payload });
  }

  /** The answers to `send` that came after it, in the order of the messages. */
  lateAnswers(): { status: string; payload: any }[] {
    return this.#kit.do("late_answers");
  }

  /** Tells a topic that a time of a cron line has come, or that a generation began to serve. Schedules fire by `advance`. */
  tell(topic: string, source: "cron" | "start", event: string, payload: unknown = {}): void {
    this.#kit.do("tell", { topic, source, event, ...fields(pack(payload)) });
  }

  /** The plugin's schedules. */
  get schedules(): Scheduled[] {
    const all = this.#kit.do("schedules");
    return all.map(({ topic, key, due_ms, event, given_up }: any) => ({ topic, key, due: due_ms, event, givenUp: given_up }));
  }

  /** The deliveries that callbacks have asked for. `advance` sends them to the servers of `http`. */
  get deliveries(): Delivery[] {
    return this.#kit.do("deliveries").map(({ body_base64, body, headers, ...same }: any) => ({
      ...same,
      headers: Object.fromEntries(headers),
      body: body_base64 === undefined ? body : new Uint8Array(Buffer.from(body_base64, "base64")),
    }));
  }

  /** Each request by HTTP with this method and URL gets this answer, and any other one is `unreachable`. Nothing is sent. */
  http(method: string, url: string, answer: HttpAnswer): void {
    if ("failure" in answer) return this.#kit.do("http", { method, url, failure: answer.failure });
    const { status, headers = {}, json, body } = answer;
    const all = json === undefined ? headers : { "content-type": "application/json", ...headers };
    this.#kit.do("http", { method, url, status, headers: Object.entries(all), body: json === undefined ? body : JSON.stringify(json) });
  }

  /** A tick of the test's choice. */
  tick(topic: string, { number, missed = 0, periodMs }: { number: number; missed?: number; periodMs: number }): void {
    this.#kit.do("tick", { topic, number, missed, period_ms: periodMs });
  }

  /** Closes every socket with this id. Returns their number. */
  disconnect(socketId: string): number {
    return this.#kit.do("disconnect", { socket_id: socketId });
  }

  /** Who is online in a topic. */
  presences(topic: string): Record<string, { metas: any[] }> {
    return this.#kit.do("presences", { topic });
  }

  /** The plugin's store. */
  readonly store = {
    get: (key: string): any => {
      const value = this.#kit.do("get", { key: Buffer.from(key).toString("base64") });
      return value === null ? undefined : JSON.parse(Buffer.from(value, "base64").toString());
    },
    put: (key: string, value: unknown): void => {
      this.#kit.do("put", { key: Buffer.from(key).toString("base64"), value: Buffer.from(JSON.stringify(value)).toString("base64") });
    },
  };

  /** All faults so far. */
  get faults(): Fault[] {
    return this.#kit.do("faults");
  }

  /** Another build replaces the plugin. Members and rooms stay. */
  reload(plugin: Channels): void {
    this.#kit.serve(plugin);
  }

  /** Ends the host. It also ends with the process. */
  close(): void {
    this.#kit.close();
  }
}

/**
 * A member of a topic, with what its client has received. An assertion finds a message in any order, removes it, and returns its
 * payload. An expected object matches an object with these fields and any others.
 */
export class Actor {
  #stage: Stage;
  #kit: Kit;
  #client: number;
  #topic: string;
  #joinRef: string;
  #last: string;
  #inbox: Frame[] = [];
  #roomState: any = null;
  #closed: number | undefined;
  /** The response of its join. */
  readonly response: any;

  constructor(stage: Stage, kit: Kit, client: number, topic: string, params: unknown) {
    [this.#stage, this.#kit, this.#client, this.#topic] = [stage, kit, client, topic];
    this.#joinRef = this.#last = kit.do("push", { client, topic, event: "phx_join", ...fields(pack(params)) });
    const { status, response } = this.#take((frame) => isReply(frame, this.#joinRef), "a reply to its join")[4];
    if (status !== "ok") throw new NotJoined(response);
    this.response = response;
  }

  /** Its client sends an event. Returns the ref of the message. */
  push(event: string, payload: unknown = {}): string {
    const given = { client: this.#client, topic: this.#topic, event, join_ref: this.#joinRef, ...fields(pack(payload)) };
    return (this.#last = this.#kit.do("push", given));
  }

  /** Its client leaves the topic. */
  leave(): void {
    this.push("phx_leave");
  }

  /** Its client joins the topic again, which ends this membership. */
  rejoin(params: object = {}): Actor {
    return new Actor(this.#stage, this.#kit, this.#client, this.#topic, params);
  }

  /** Its connection ends. */
  close(): void {
    this.#kit.do("close", { client: this.#client });
  }

  /** Asserts a reply to the last message, or to the message with this ref. Returns its response. */
  assertReply(status: string = "ok", expected: unknown = {}, ref: string = this.#last): any {
    const isIt = (frame: Frame) => isReply(frame, ref) && frame[4].status === status && matches(expected, frame[4].response);
    return this.#take(isIt, `a reply \`${status}\` with ${shown(expected)}`)[4].response;
  }

  /** Asserts an event that was sent to this client alone. Returns its payload. */
  assertPush(event: string, expected: unknown = {}): any {
    const isIt = (frame: Frame) => frame[0] === this.#joinRef && frame[3] === event && matches(expected, frame[4]);
    return this.#take(isIt, `a push of \`${event}\` with ${shown(expected)}`)[4];
  }

  /** Asserts an event that was sent to the topic. Returns its payload. */
  assertBroadcast(event: string, expected: unknown = {}): any {
    const isIt = (frame: Frame) => frame[0] === null && frame[3] === event && matches(expected, frame[4]);
    return this.#take(isIt, `a broadcast of \`${event}\` with ${shown(expected)}`)[4];
  }

  /** Asserts that no message of this event was received. */
  refute(event: string): void {
    this.#receive();
    const found = this.#inbox.find((frame) => frame[3] === event);
    if (found) throw new Error(`received ${shown(found)}`);
  }

  /** Asserts that the connection was closed, with this code. */
  assertDisconnected(code: number): void {
    this.#receive();
    if (this.#closed !== code) throw new Error(`expected the end of the connection with ${code}, and not with ${this.#closed}`);
  }

  /** The topic's published state as its client has it. Null before the first one. */
  get roomState(): any {
    this.#receive();
    return this.#roomState;
  }

  /** Returns and removes all other messages, as frames `[join_ref, ref, topic, event, payload]`. */
  received(): Frame[] {
    this.#receive();
    return this.#inbox.splice(0);
  }

  #receive(): void {
    for (let next; (next = this.#kit.do("next", { client: this.#client })); ) {
      if (next.closed !== undefined) {
        this.#closed = next.closed;
        continue;
      }
      const frame = next.frame ?? frameOf(Buffer.from(next.binary_base64, "base64"));
      if (frame[3] === "room_state") this.#roomState = merged({}, frame[4].state);
      if (frame[3] === "room_diff") this.#roomState = merged(this.#roomState, frame[4].patch);
      this.#inbox.push(frame);
    }
  }

  #take(isIt: (frame: Frame) => boolean, what: string): Frame {
    this.#receive();
    const at = this.#inbox.findIndex(isIt);
    if (at >= 0) return this.#inbox.splice(at, 1)[0];
    const faults = this.#stage.faults.map(({ kind, detail }) => `\nfault: ${kind}: ${detail}`).join("");
    throw new Error(`expected ${what}; received ${this.#inbox.map((frame) => `\n  ${shown(frame)}`).join("") || "nothing"}${faults}`);
  }
}

const isReply = (frame: Frame, ref: string) => frame[3] === "phx_reply" && frame[1] === ref;
const shown = (value: unknown) => JSON.stringify(value, (_, part) => (part instanceof Uint8Array ? `bytes ${Buffer.from(part).toString("hex")}` : part));

/** Whether a value is the expected one. An object may have further fields. */
function matches(expected: any, value: any): boolean {
  if (typeof expected !== "object" || expected === null || typeof value !== "object" || value === null) return Object.is(expected, value);
  const isList = Array.isArray(expected) || expected instanceof Uint8Array;
  if (isList && (expected.length !== value.length || expected instanceof Uint8Array !== value instanceof Uint8Array)) return false;
  return Object.keys(expected).every((key) => Object.hasOwn(value, key) && matches(expected[key], value[key]));
}

/** Applies a merge patch (RFC 7396). */
function merged(state: any, patch: any): any {
  if (typeof patch !== "object" || patch === null || Array.isArray(patch)) return patch;
  const result = typeof state === "object" && state !== null && !Array.isArray(state) ? { ...state } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = merged(result[key], value);
  }
  return result;
}
