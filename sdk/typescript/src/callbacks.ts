// The contract's callbacks, made of a plugin's channels.
import * as effects from "bennu:channel/socket@0.1.0";
import type { Channel } from "./channel.ts";
import { drop, handOver, Refusal, refuse, Reply, Stop } from "./channel.ts";
import { ConnectRequest, Forbidden, Gatekeeper } from "./gatekeeper.ts";
import { CallState } from "./state.ts";
import { name, objectText, pack, packObject, text, unpack } from "./payload.ts";
import type { Packed } from "./payload.ts";
import { phase } from "./phase.ts";
import { problemText } from "./problem.ts";
import { decode, encode } from "./text.ts";
import { fired } from "./schedule.ts";
import { TokenProblem } from "./token.ts";
import { Socket, Topic } from "./topic.ts";

type AnyChannel = Channel<any, any>;
/** `room` is the JSON of the first room, if the channel has one. The tables of handlers have no prototype. */
type Route = { is: AnyChannel; state: string; room: string | undefined; on: Handlers; info: Handlers; message: Handlers; topicInfo: Handlers; intercept: Handlers };
type Handlers = Record<string, ((...of: any[]) => any) | undefined>;
type Done = { given: any; refused: unknown; isRefused: boolean; state: CallState<any>; room: CallState<any> | undefined };

/** The names of a channel's fields. Another name is a mistake that would otherwise go unnoticed. */
const FIELDS = new Set([
  "state", "room", "durable", "turns", "onFault", "lingerMs", "tickFaults", "history", "publishes", "startTopics", "version", "roomVersion", "entriesVersion",
  "join", "on", "info", "message", "topicInfo", "intercept", "tick", "seat", "leave", "upgrade", "upgradeRoom", "upgradeEntry",
]);

/** The optional exports, and whether a channel needs them. */
const OFFERS: [string, (is: AnyChannel) => unknown][] = [
  ["handle-out", (is) => is.intercept],
  ["handle-message", (is) => is.message],
  ["handle-topic-info", (is) => is.topicInfo],
  ["handle-tick", (is) => is.tick],
  ["handle-seat", (is) => is.seat],
  ["upgrade", (is) => is.upgrade ?? is.upgradeRoom],
  ["upgrade-entry", (is) => is.upgradeEntry],
];

function check(pattern: string, is: AnyChannel) {
  if (typeof is !== "object" || is === null) throw new TypeError(`the channel of \`${pattern}\` must be an object`);
  for (const name of Object.keys(is)) {
    if (!FIELDS.has(name)) throw new TypeError(`the channel of \`${pattern}\` has an unknown field \`${name}\`; there are ${[...FIELDS].join(", ")}`);
  }
}

/** The value of JSON, or the bytes as they are. */
function jsonOrBytes(bytes: Uint8Array): any {
  try {
    return JSON.parse(decode(bytes));
  } catch {
    return bytes;
  }
}

/** Returns the contract's callbacks of a gatekeeper. */
export function gatekeeperCallbacks({ connect }: Gatekeeper) {
  // The client's own text can be a part of the body.
  const refused = (status: number, body: unknown) => ({ tag: "refused", val: { status, body: String(body).toWellFormed() } });
  const optional = (what: string, value: unknown) => (value === undefined || value === null ? undefined : name(what, value));
  return {
    offers: ["connect"],
    connect: {
      connect() {
        phase.calls += 1;
        try {
          const identity = connect(new ConnectRequest()) as any;
          if (typeof identity !== "object" || identity === null || typeof identity.then === "function") {
            throw new TypeError("a gatekeeper must return who the client is, such as `{ user: \"ada\" }` or `{}`, or call `forbid`");
          }
          const { user, socketId, claims = {} } = identity;
          const val = { socketId: optional("a socket id", socketId), user: optional("a user", user), claims: objectText("the claims", claims) };
          return { tag: "granted", val };
        } catch (problem) {
          if (problem instanceof Forbidden) return refused(problem.status, problem.body);
          if (problem instanceof Refusal) return refused(403, (problem.response as any)?.reason ?? "");
          if (problem instanceof TokenProblem) return refused(403, "");
          throw problemText(problem);
        }
      },
    },
  };
}

/** Returns the contract's callbacks, and the optional ones that the plugin has. */
export function callbacks(channels: Record<string, AnyChannel>) {
  if (channels instanceof Gatekeeper) throw new TypeError("a gatekeeper serves no topics");
  if (typeof channels !== "object" || channels === null) {
    throw new TypeError("a script's default export must be its channels: `export default plugin({ \"room:*\": channel({ … }) })`");
  }
  const patterns = Object.keys(channels).sort((a, b) => b.length - a.length);
  patterns.forEach((pattern) => check(pattern, channels[pattern]));
  const routes: Record<string, Route> = Object.create(null);
  for (const pattern of patterns) {
    const is = channels[pattern];
    const withoutPrototype = (table?: object): Handlers => Object.assign(Object.create(null), table);
    const tables = [is.on, is.info, is.message, is.topicInfo, is.intercept].map(withoutPrototype);
    const [on, info, message, topicInfo, intercept] = tables;
    routes[pattern] = { is, state: JSON.stringify(is.state ?? {}), room: is.room && JSON.stringify(is.room), on, info, message, topicInfo, intercept };
  }
  const prefixes = patterns.filter((pattern) => pattern.endsWith("*")).map((pattern) => [pattern.slice(0, -1), routes[pattern]] as const);
  // Many calls in a row are about one topic, and looking for its route is a tenth of the time of a short call.
  let lastTopic = "", lastRoute: Route | undefined;
  const routeOf = (topic: string): Route => {
    if (topic !== lastTopic || lastRoute === undefined) {
      lastRoute = routes[topic] ?? prefixes.find(([prefix]) => topic.startsWith(prefix))?.[1];
      lastTopic = topic;
    }
    return lastRoute!;
  };

  function run(what: string, topic: string, member: any, room: any, call: (socket: any, route: Route) => any): Done {
    phase.calls += 1;
    const route = routeOf(topic), state = new CallState<any>(member?.assigns, route.state);
    const shared = route.room === undefined ? undefined : new CallState<any>(room, route.room);
    const socket = member ? new Socket(Number(member.id), topic, state, shared, member.ref ?? undefined) : new Topic(topic, shared);
    const done: Done = { given: undefined, refused: undefined, isRefused: false, state, room: shared };
    try {
      const given = call(socket, route);
      if (typeof given?.then === "function") {
        throw new TypeError(`\`${what}\` of \`${topic}\` returned a promise; a callback can't be async, because it is a transaction`);
      }
      done.given = given;
      return done;
    } catch (problem) {
      if (!(problem instanceof Refusal)) throw problemText(problem);
      effects.discard();
      done.isRefused = true;
      done.refused = problem.response;
      return done;
    }
  }

  /** Runs the rest of a callback, such as the encoding of what it returned. An error there has a text, too. */
  function ending<T>(make: () => T): T {
    try {
      return make();
    } catch (problem) {
      throw problemText(problem);
    }
  }

  const roomOf = (done: Done) => done.room?.changed;
  const reply = (status: string, value: unknown): { status: string; payload: Packed } => (value instanceof Reply
    ? { status: name("a status", value.status), payload: pack(value.response) } : { status, payload: pack(value) });
  // Not with `ending`: each client's message comes here, and a closure has its price.
  const outcome = (done: Done, mayReply: boolean) => {
    try {
      const { given } = done;
      if (done.isRefused) return { assigns: undefined, room: undefined, answer: mayReply ? { tag: "reply", val: reply("error", done.refused) } : { tag: "none" } };
      const answer = given instanceof Stop
        ? { tag: "stop", val: { reason: given.reason, reply: given.response === undefined ? undefined : reply("ok", given.response) } }
        : given === undefined || !mayReply ? { tag: "none" } : { tag: "reply", val: reply("ok", given) };
      return { assigns: done.state.changed, room: roomOf(done), answer };
    } catch (problem) {
      throw problemText(problem);
    }
  };

  const option = (name: string, value: unknown) => (value === undefined ? [] : [{ name, value: text(`the option \`${name}\``, String(value)) }]);
  const decision = (given: any, event: string) => {
    if (given === undefined) return { tag: "pass" };
    if (given === drop) return { tag: "drop" };
    return given === handOver ? { tag: "hand-over" } : { tag: "replace", val: packObject(event, given) };
  };
  /** What a refused callback without a client's message means: a mistake of the script. */
  const noRefusal = (done: Done, what: string) => {
    if (done.isRefused) throw `\`${what}\` can't refuse: no client waits for its answer`;
    return done;
  };

  // Described here and not when the host asks, so that a mistake ends the evaluation with its text.
  const described = patterns.map((pattern) => {
    const is = channels[pattern];
    return {
      pattern: text("a pattern", pattern),
      intercepts: Object.keys(is.intercept ?? {}).map((event) => text("an event", event)),
      assignsVersion: is.version ?? 0,
      roomVersion: is.roomVersion ?? 0,
      options: [
        ...option("room", is.room && (is.durable ? "durable" : "memory")), ...option("turns", is.turns), ...option("on-fault", is.onFault),
        ...option("linger-ms", is.lingerMs), ...option("tick-faults", is.tickFaults), ...option("entries-version", is.entriesVersion),
        ...option("history-count", is.history?.count), ...option("history-ms", is.history?.ms),
        ...(is.publishes ?? []).flatMap((prefix) => option("publishes", prefix)),
        ...(is.startTopics ?? []).flatMap((topic) => option("start-topics", topic)),
      ],
    };
  });

  return {
    offers: OFFERS.filter(([, has]) => patterns.some((pattern) => has(channels[pattern]) !== undefined)).map(([name]) => name),
    channel: {
      describe: () => described,
      join(id: any, topic: string, params: Packed, room: any) {
        const done = run("join", topic, { id }, room, (socket, { is }) => is.join?.(unpack(params), socket));
        return ending(() => {
          if (done.isRefused) return { tag: "refused", val: pack(done.refused) };
          return { tag: "admitted", val: { assigns: done.state.bytes, room: roomOf(done), response: pack(done.given ?? {}) } };
        });
      },
      handleIn(member: any, event: string, payload: Packed, ref: any) {
        member.ref = ref;
        const done = run(event, member.topic, member, member.room, (socket, { on }) => {
          const handler = on[event] ?? on["*"] ?? (() => refuse(`unknown event ${JSON.stringify(event)}`));
          return handler(unpack(payload), socket, { event });
        });
        return outcome(done, true);
      },
      handleInfo(member: any, { event, payload, source, topic }: any) {
        const done = run(event, member.topic, member, member.room, (socket, { info }) => (info[event] ?? info["*"])?.(unpack(payload), socket, { source, topic, event }));
        return outcome(noRefusal(done, event), false);
      },
      terminate(member: any, { cause, detail }: any) {
        const done = run("leave", member.topic, member, member.room, (socket, { is }) => is.leave?.(cause, socket, detail));
        return ending(() => roomOf(noRefusal(done, "leave")));
      },
    },
    handleOut: {
      handleOut(topic: string, event: string, payload: Packed, recipients: any[]) {
        phase.calls += 1;
        return ending(() => {
          const route = routeOf(topic), handler = route.intercept[event] ?? route.intercept["*"];
          return recipients.map(({ member, assigns }) => {
            const recipient = { id: Number(member), topic, state: new CallState<any>(assigns, route.state).value };
            return decision(handler?.(unpack(payload), recipient), event);
          });
        });
      },
    },
    handleMessage: {
      handleMessage(topic: string, event: string, payload: Packed, room: any) {
        const done = run(event, topic, undefined, room, (it, { message }) => (message[event] ?? message["*"])?.(unpack(payload), it, { event }));
        return ending(() => {
          const value = done.isRefused ? done.refused : done.given;
          const answer = value === undefined ? undefined : reply(done.isRefused ? "error" : "ok", value);
          return { room: done.isRefused ? undefined : roomOf(done), reply: answer };
        });
      },
    },
    handleTopicInfo: {
      handleTopicInfo(topic: string, { event, payload, source }: any, room: any) {
        const done = run(event, topic, undefined, room, (it, { topicInfo }) => {
          const handler = topicInfo[event] ?? topicInfo["*"];
          if (!handler) console.warn(`no \`topicInfo\` for the event \`${event}\` from \`${source}\`: it is ignored`);
          return handler?.(unpack(payload), it, { source, event, ...fired() });
        });
        return ending(() => roomOf(noRefusal(done, event)));
      },
    },
    handleTick: {
      handleTick(topic: string, tick: any, room: any) {
        const done = run("tick", topic, undefined, room, (it, { is }) => is.tick?.({ ...tick, number: Number(tick.number) }, it));
        return ending(() => roomOf(noRefusal(done, "tick")));
      },
    },
    handleSeat: {
      handleSeat(topic: string, name: string, change: any, room: any) {
        const done = run("seat", topic, undefined, room, (it, { is }) => is.seat?.(change, name, it));
        return ending(() => roomOf(noRefusal(done, "seat")));
      },
    },
    upgrade: {
      upgrade(topic: string, part: string, version: number, state: Uint8Array) {
        phase.calls += 1;
        return ending(() => {
          const { is } = routeOf(topic), upgrade = part === "room" ? is.upgradeRoom : is.upgrade;
          return upgrade ? encode(JSON.stringify(upgrade(state.length ? JSON.parse(decode(state)) : {}, version, topic))) : state;
        });
      },
    },
    upgradeEntry: {
      upgradeEntry(topic: string, key: Uint8Array, version: number, value: Uint8Array) {
        phase.calls += 1;
        return ending(() => {
          const { is } = routeOf(topic);
          if (!is.upgradeEntry) return value;
          const upgraded = is.upgradeEntry(jsonOrBytes(value), version, decode(key), topic);
          return upgraded instanceof Uint8Array ? upgraded : encode(JSON.stringify(upgraded));
        });
      },
    },
  };
}
