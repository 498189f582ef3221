import type { Socket, Topic } from "./topic.ts";

/** What a callback returns: the response of an `ok` reply, or nothing. */
export type Answer = object | string | number | boolean | null | undefined | void;

/** A client's mistake. It becomes an `error` reply, and nothing of the callback happens. */
export class Refusal {
  readonly response: unknown;
  constructor(response: unknown) {
    this.response = response;
  }
}

/** Ends the callback with an `error` reply. A text becomes `{"reason": text}`. */
export function refuse(reason: string | object): never {
  throw new Refusal(typeof reason === "string" ? { reason } : reason);
}

/** The end of a membership. */
export class Stop {
  readonly reason: string;
  readonly response: unknown;
  constructor(reason: string, response: unknown) {
    this.reason = reason;
    this.response = response;
  }
}

/** Return it from a callback to end the membership. The client gets the response first, and then `phx_close`. */
export function stop(reason: string, response?: unknown): {} {
  return new Stop(reason, response);
}

/** What `intercept` may return, besides another payload: the recipient doesn't get the event. */
export const drop: unique symbol = Symbol("drop");

/** What `intercept` may return: the recipient's own `info` gets the event. */
export const handOver: unique symbol = Symbol("hand-over");

/** A member that is about to get an event. */
export interface Recipient<S> {
  id: number;
  topic: string;
  state: S;
}

/** What the host tells a topic. */
export interface TopicMessage {
  /** `schedule`, `cron` or `start`. Later hosts may add sources. */
  source: string;
  /** When a schedule or a cron line was due, in milliseconds since 1970. */
  due?: number;
  /** The key of a schedule. */
  key?: string;
}

/** One tick. */
export interface Tick {
  number: number;
  missed: number;
  periodMs: number;
}

/** The callbacks and options of a kind of topic. Callbacks are synchronous. */
export interface Channel<S extends object, R extends object> {
  /** A member's first state. Its fields are also the defaults of a state that an older build wrote. */
  state?: S;
  /** The first state that all members of a topic share. A channel that has it has a room. */
  room?: R;
  /** The room is stored, and survives a restart of the host. */
  durable?: boolean;
  /** With `topic`, the callbacks of all members of a topic run one after another. A room implies it. */
  turns?: "member" | "topic";
  /** With `keep`, a member stays after a fault, with the state from before. */
  onFault?: "end" | "keep";
  /** How long a room remains after its last member has ended, in milliseconds. */
  lingerMs?: number;
  /** After so many faults of `tick` in a row, the members end. */
  tickFaults?: number;
  /** Prefixes of entries that all members get. */
  publishes?: string[];
  /** Topics whose `topicInfo` gets the event `start` each time a generation of the plugin begins to serve. */
  startTopics?: string[];
  /** The version of the member's state, for `upgrade`. */
  version?: number;
  /** The version of the room, for `upgradeRoom`. */
  roomVersion?: number;
  /** The version of entries, for `upgradeEntry`. */
  entriesVersion?: number;

  /** A client joins. Returns the response. `refuse` keeps the client out. */
  join?(params: any, socket: Socket<S, R>): Answer;
  /** Messages of the client, by event. Returns the response, or nothing. */
  on?: Record<string, (payload: any, socket: Socket<S, R>) => Answer>;
  /** Messages that no client sent: timers, other topics, answers. */
  info?: Record<string, (payload: any, socket: Socket<S, R>, message: { source: string; topic: string }) => Answer>;
  /** Messages to the topic, by event. Returns the answer. */
  message?: Record<string, (payload: any, topic: Topic<R>) => Answer>;
  /** What the host itself tells the topic, by event: schedules, cron lines, and the start of a generation. */
  topicInfo?: Record<string, (payload: any, topic: Topic<R>, message: TopicMessage) => void>;
  /** Events that each recipient may get differently: returns another payload, `drop`, `handOver`, or nothing to pass it on. */
  intercept?: Record<string, (payload: any, recipient: Recipient<S>) => object | symbol | void>;
  /** The topic's tick timer has fired. */
  tick?(tick: Tick, topic: Topic<R>): void;
  /** A seat has changed. */
  seat?(change: "taken" | "dropped" | "returned" | "gone", name: string, topic: Topic<R>): void;
  /** The member has ended. */
  leave?(cause: string, socket: Socket<S, R>, detail: string): void;
  /** Upgrades a member's state that another version wrote. */
  upgrade?(state: any, version: number, topic: string): S;
  /** Upgrades a room that another version wrote. */
  upgradeRoom?(room: any, version: number, topic: string): R;
  /** Upgrades an entry that another version wrote. */
  upgradeEntry?(value: any, version: number, key: string, topic: string): unknown;
}

/** Declares a channel. It returns its argument: the call gives editors the types. */
export function channel<S extends object = {}, R extends object = {}>(is: Channel<S, R>): Channel<S, R> {
  return is;
}

/** Declares a plugin: its channels, by topic or by prefix such as `room:*`. It is the default export of a script. */
export function plugin(channels: Record<string, Channel<any, any>>): Record<string, Channel<any, any>> {
  return channels;
}
