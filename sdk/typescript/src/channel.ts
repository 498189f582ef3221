import { text } from "./payload.ts";
import type { Socket, Topic } from "./topic.ts";

/** What a callback returns: the response of an `ok` reply, or nothing. */
export type Answer = object | string | number | boolean | null | undefined | void;

/** A client's mistake. It becomes an `error` reply, and nothing else of the callback happens. */
export class Refusal {
  readonly response: unknown;
  constructor(response: unknown) {
    this.response = response;
  }
}

/**
 * Ends the callback with an `error` reply. A text becomes `{"reason": text}`. Nothing else of the callback happens: the state and the
 * room stay as they were, and effects and writes that the callback has asked for before are discarded.
 */
export function refuse(reason: string | object): never {
  throw new Refusal(typeof reason === "string" ? { reason } : reason);
}

/** A reply with a status of its own. */
export class Reply {
  readonly status: string;
  readonly response: unknown;
  constructor(status: string, response: unknown) {
    this.status = status;
    this.response = response;
  }
}

/** Return it from a callback for a reply with another status than `ok`. Unlike after `refuse`, the state and the room change, and effects happen. */
export function reply(status: string, response: unknown = {}): {} {
  return new Reply(status, response);
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

/**
 * Return it from a callback to end the membership. The client gets the response first, and then `phx_close`. The response can be a
 * `reply` with a status of its own. Without a response, the client gets no reply. The client doesn't get the reason.
 */
export function stop(reason: string, response?: unknown): {} {
  return new Stop(text("a reason", reason), response);
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
  /** `schedule`, `cron`, `start`, or `http` for the answer to a request. Later hosts may add sources. */
  source: "schedule" | "cron" | "start" | "http" | (string & {});
  event: string;
  /** When a schedule or a cron line was due, in milliseconds since 1970. */
  due?: number;
  /** The key of a schedule. */
  key?: string;
}

/** One tick. */
export interface Tick {
  /** The number of the tick since `tick` set the period, with skipped ticks. So the number times the period is the passed time. */
  number: number;
  /** How many ticks were skipped since the last call, because the topic was busy. Move a world by `missed + 1` periods. */
  missed: number;
  periodMs: number;
}

/** Where a message comes from that no client sent. Ignore sources that you don't know. */
export interface Source {
  /**
   * `self`: this member or one of its timers. `member`: another callback, by `sendMember`, or a program by the API. `topic`: a topic that the member subscribes to. `answer`: the answer to a `send`, whose
   * payload is `{status, response}`. `intercept`: an event that `intercept` handed over.
   */
  source: "self" | "member" | "topic" | "answer" | "intercept" | (string & {});
  /** The topic of the message: the member's own one, or the other one. For `member`, it is the topic of the sender. */
  topic: string;
  event: string;
}

/**
 * The callbacks and options of a kind of topic. Callbacks are synchronous. Each is a transaction: if it throws, nothing of it happens,
 * and the member ends with `phx_error`, so that its client joins again.
 *
 * In the tables `on`, `info`, `message` and `topicInfo`, the handler `*` gets the events that have none of their own.
 */
export interface Channel<S extends object, R extends object> {
  /** A member's first state, a JSON object. Its fields are also the defaults of a state that an older build wrote. At most 1 MiB. */
  state?: S;
  /** The first state that all members of a topic share, a JSON object of at most 1 MiB. A channel that has it has a room. */
  room?: R;
  /** The room and its entries are stored, and survive a restart of the host. */
  durable?: boolean;
  /** With `topic`, the callbacks of all members of a topic run one after another. A room implies it. */
  turns?: "member" | "topic";
  /** With `keep`, a member stays after a fault, with the state from before. */
  onFault?: "end" | "keep";
  /** How long a room remains after its last member has ended, in milliseconds: 10,000 by default, at most a day. */
  lingerMs?: number;
  /** After so many faults of `tick` in a row, the members end: 10 by default. 0 means never. */
  tickFaults?: number;
  /** How many of the topic's last broadcasts the host keeps for clients that join again, and for how many milliseconds. */
  history?: { count: number; ms?: number };
  /** Prefixes of entries that all members get, as `room_state` and `room_diff`. At most 16. */
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
  /** Messages of the client, by event. Returns the response of an `ok` reply, or nothing for no reply. An unknown event is an `error`. */
  on?: Record<string, (payload: any, socket: Socket<S, R>, message: { event: string }) => Answer>;
  /** Messages that no client sent, by event: timers, other topics, answers of other topics and by HTTP. Nobody waits for an answer, so none is returned. */
  info?: Record<string, (payload: any, socket: Socket<S, R>, message: Source) => Answer>;
  /** Messages to the topic, by event, from the API or another topic. Returns the answer. */
  message?: Record<string, (payload: any, topic: Topic<R>, message: { event: string }) => Answer>;
  /** What the host itself tells the topic, by event: schedules, cron lines, answers by HTTP, and the start of a generation. */
  topicInfo?: Record<string, (payload: any, topic: Topic<R>, message: TopicMessage) => void>;
  /** Events that each recipient may get differently: returns another payload, `drop`, `handOver`, or nothing to pass it on. */
  intercept?: Record<string, (payload: any, recipient: Recipient<S>) => object | symbol | void>;
  /** The topic's tick timer has fired. */
  tick?(tick: Tick, topic: Topic<R>): void;
  /** A seat has changed. */
  seat?(change: "taken" | "dropped" | "returned" | "gone", name: string, topic: Topic<R>): void;
  /**
   * The member has ended. The cause is `left`, `closed`, `stopped`, `kicked`, `fault`, `replaced`, `shutdown` or `taken-back`. The
   * detail is the reason of a `stop` or of a kick, or the kind of a fault. Only pushes, broadcasts and messages to topics are still carried out.
   */
  leave?(cause: string, socket: Socket<S, R>, detail: string): void;
  /** Upgrades a member's state that another version wrote. */
  upgrade?(state: any, version: number, topic: string): S;
  /** Upgrades a room that another version wrote. */
  upgradeRoom?(room: any, version: number, topic: string): R;
  /** Upgrades an entry that another version wrote. A value that isn't JSON is a `Uint8Array`. */
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
