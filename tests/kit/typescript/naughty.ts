// The plugin `naughty` in TypeScript, with the parts that tests/scripts uses. guest-examples/naughty describes the events. What the SDK
// would refuse before the host does goes to the contract directly.

import {
  channel, drop, entries, handOver, http, HttpFailure, now, plugin, refuse, reply, schedule, type Socket, stop, store, type Topic,
  type TopicMessage, topics,
} from "bennu";
import * as droppable from "bennu:channel/droppable@0.1.0";
import * as rawEntries from "bennu:channel/entries@0.1.0";
import * as presence from "bennu:channel/presence@0.1.0";
import * as raw from "bennu:channel/socket@0.1.0";
import * as rawStore from "bennu:channel/store@0.1.0";

type Fields = Record<string, any>;
type Handler = (payload: any, socket: any, message: any) => any;

const ok = {};
const json = (value: unknown) => ({ tag: "json" as const, val: JSON.stringify(value) });
const bytes = (text: string) => new TextEncoder().encode(text);

/** A field that must be there. */
function field(payload: any, name: string): any {
  if (typeof payload !== "object" || payload === null || !Object.hasOwn(payload, name)) refuse({ reason: `${name}: missing` });
  return payload[name];
}

function fail(why: string): never {
  throw new Error(why);
}

/** The events about entries, of members and of topic messages. */
const entryEvents: Record<string, Handler> = {
  entry_put(payload) {
    entries.put(field(payload, "key"), field(payload, "value"));
    return ok;
  },
  entry_get: (payload) => entries.get(field(payload, "key")) ?? null,
  entry_delete(payload) {
    entries.delete(field(payload, "key"));
    return ok;
  },
  entries(payload) {
    const { after, before, backward, limit = 1000 } = payload, prefix = field(payload, "prefix");
    return entries.list({ prefix, from: after === undefined ? undefined : `${after}\0`, to: before, reverse: !!backward, limit });
  },
  entries_put(payload) {
    entries.putMany(field(payload, "entries"));
    return ok;
  },
  entries_get: (payload) => entries.getMany(field(payload, "keys")).map((value) => value ?? null),
  entries_clear: (payload) => ({ deleted: entries.deleteRange({ limit: field(payload, "limit") }) }),
  entries_own(payload) {
    const key = field(payload, "key"), read = [entries.get(key) ?? null];
    entries.put(key, 1);
    read.push(entries.get(key));
    entries.delete(key);
    read.push(entries.get(key) ?? null);
    entries.put(key, 2);
    return [...read, entries.get(key)];
  },
  entry_read_then_fail(payload) {
    entries.get(field(payload, "key"));
    fail("asked to fail after a read");
  },
  entry_then_fail(payload) {
    entries.put(field(payload, "key"), field(payload, "value"));
    fail("asked to fail after a put");
  },
  entry_then_refuse(payload) {
    entries.put(field(payload, "key"), field(payload, "value"));
    refuse("too late");
  },
  entry_after_discard(payload, topic) {
    topic.discard();
    entries.put(field(payload, "key"), field(payload, "value"));
  },
  entry_no_key: () => entries.put("", 1),
  entry_long_key: () => entries.put("k".repeat(256), 1),
  entry_long_value: () => entries.putBytes("ballast/k", new Uint8Array((1 << 20) + 1)),
  entries_many: () => entries.putMany(Array.from({ length: 4097 }, (_, number) => [`many/${number}`, number])),
  entries_much: () => {
    for (let number = 0; number < 5; number++) entries.put(`ballast/${number}`, "x".repeat(1_000_000));
  },
  entries_get_many: () => entries.getMany(Array.from({ length: 1001 }, (_, number) => String(number))),
};

function isThere(topic: Topic, key: string): boolean {
  return schedule.due(topic.topic, key) !== undefined;
}

function scheduleOne({ key, ms, event = "ring", payload = {} }: any, { topic }: Topic) {
  schedule.after(topic, ms, key, event, payload);
  store.put(`asked:${key}`, true);
  return ok;
}

function giveAnswer({ to, value }: any, topic: Topic) {
  const waiting = store.get(`waiting:${to}`);
  if (waiting) topic.answer(waiting, value);
  return { was_waiting: !!waiting };
}

/** The events of members and of topic messages. */
const timedEvents: Record<string, Handler> = {
  schedule: scheduleOne,
  schedule_then_fail(payload, topic) {
    scheduleOne(payload, topic);
    fail("asked to fail after a schedule");
  },
  schedule_then_refuse(payload, topic) {
    scheduleOne(payload, topic);
    refuse("too late");
  },
  unschedule({ key }, { topic }) {
    schedule.cancel(topic, key);
    return ok;
  },
  is_scheduled: ({ key }, topic) => ({ is: isThere(topic, key) }),
  schedule_own({ key }, topic) {
    const seen = [isThere(topic, key)];
    for (const ms of [60_000, 90_000]) {
      schedule.after(topic.topic, ms, key, "ring");
      seen.push(isThere(topic, key));
    }
    schedule.cancel(topic.topic, key);
    return [...seen, isThere(topic, key)];
  },
  schedule_elsewhere: () => schedule.after("elsewhere:1", 0, "key", "ring"),
  schedule_many({ count, ms }, { topic }) {
    for (let key = 0; key < count; key++) schedule.after(topic, ms, String(key), "ring");
    return ok;
  },
  give_answer: giveAnswer,
};

/** The topic message that is answered later. */
function waitForAnswer(_: unknown, topic: Topic) {
  store.put(`waiting:${topic.topic}`, topic.answerRef ?? null);
  topic.broadcast("asked");
}

/** What the host tells the topic. */
function told(payload: any, topic: Topic, { source, event, due = 0, key }: TopicMessage) {
  if (event === "fail") fail("asked to fail in handle_topic_info");
  if (event === "fail_at_first" && now() < due + payload.ms) fail("asked to fail at first in handle_topic_info");
  if (event === "again") schedule.after(topic.topic, payload.ms, key!, "ring");
  const counter = `rung:${key ?? source}`, times = (store.get(counter) ?? 0) + 1;
  store.put(counter, times);
  topic.broadcast("rung", { source, key: key ?? null, event, payload, times });
}

const sends = (how: (socket: Socket, payload: Fields) => void): Handler => (payload, socket) => {
  how(socket, payload);
  return ok;
};
const toSelf: Handler = (_, socket, { event }) => {
  socket.sendSelf(event);
  return ok;
};
const put: Handler = (payload) => {
  store.put(field(payload, "key"), field(payload, "value"));
  return ok;
};

/** Delivers a request, so many times. */
function deliver({ url, headers = [], body = "", order, expires_ms, on_failure, times = 1 }: any): Fields {
  let id = "";
  const options = { headers: Object.fromEntries(headers), body, order, expiresMs: expires_ms, onFailure: on_failure };
  for (let n = 0; n < times; n++) id = http.deliver(url, options);
  store.put(`delivered:${body}`, true);
  return { length: id.length };
}

/** Asks for effects that a test would notice. */
function manyEffects(payload: any, socket: Socket): void {
  socket.push("late");
  socket.broadcast("late");
  socket.sendSelf("self");
  socket.sendAfter(10, "timer");
  socket.track("late");
  socket.subscribe("naughty:late");
  store.put(field(payload, "key"), field(payload, "value"));
}

/** An answer for a client. */
const shown = ({ status, body, failure }: any) => (failure ? { failure } : { status, body });

const httpSend: Handler = (payload) => {
  http.request("http_answer", field(payload, "url"), { body: payload.body });
  return ok;
};

/** Asks by HTTP, so many times. Returns the last answer for a client. */
function httpGet({ url, times = 1, method }: any): Fields {
  let answer: Fields = {};
  for (let n = 0; n < times; n++) {
    try {
      const { status, ...got } = http.get(url, { method });
      answer = { status, body: new TextDecoder().decode(got.body) };
    } catch (problem) {
      if (!(problem instanceof HttpFailure)) throw problem;
      answer = { failure: problem.kind };
    }
  }
  return answer;
}

const naughty = channel<{ mood: string; timer: number | null; ballast: string }>({
  state: { mood: "pass", timer: null, ballast: "" },

  join(params, socket) {
    if (socket.topic === "naughty:join_fail") fail("asked to fail in join");
    if (socket.topic === "naughty:join_refuse") {
      socket.broadcast("refused");
      refuse("nobody may join here");
    }
    socket.state.mood = params.mood ?? "pass";
    if (params.http_get) socket.push("asked", httpGet(params.http_get));
    return { member: socket.id };
  },

  on: {
    ...entryEvents,
    echo: (payload) => payload,
    shout: sends((socket, payload) => socket.broadcast("shout", payload)),
    push: sends((socket, payload) => socket.push(field(payload, "event"), field(payload, "payload"))),
    broadcast: sends((socket, payload) => socket.broadcast(field(payload, "event"), field(payload, "payload"))),
    broadcast_from: sends((socket, payload) => socket.broadcastFrom(field(payload, "event"), field(payload, "payload"))),
    publish: sends((socket, payload) => socket.publish(payload.topic, field(payload, "event"), field(payload, "payload"))),
    broadcast_droppable: sends((socket, { key, event, payload }) =>
      key.length > 255 ? droppable.broadcastDroppable(key, event, json(payload)) : socket.broadcastDroppable(key, event, payload)),
    broadcast_from_droppable: sends((socket, { key, event, payload }) => socket.broadcastFromDroppable(key, event, payload)),
    publish_droppable: sends((socket, { topic, key, event, payload }) => socket.publishDroppable(topic, key, event, payload)),
    tell: sends((socket, payload) => socket.broadcast("secret", payload)),
    later: (payload, socket) => void socket.sendAfter(field(payload, "ms"), "later", { to: socket.ref }),
    twice(_, socket) {
      socket.reply(socket.ref!, { first: true });
      return { second: true };
    },
    late_bytes: (payload, socket) => socket.reply(socket.ref!, "x".repeat(field(payload, "bytes"))),
    timer: (payload, socket) => ({ timer: (socket.state.timer = socket.sendAfter(field(payload, "ms"), "timer")) }),
    cancel(_, socket) {
      if (socket.state.timer !== null) socket.cancel(socket.state.timer);
      socket.state.timer = null;
      return ok;
    },
    self: toSelf, info_stop: toSelf, info_fail: toSelf, info_reply: toSelf, flood: toSelf,
    refuse_late(payload, socket) {
      manyEffects(payload, socket);
      refuse("too late");
    },
    discard(payload, socket) {
      manyEffects(payload, socket);
      socket.discard();
      return ok;
    },
    push_after_discard: sends((socket) => {
      socket.discard();
      socket.push("late");
    }),
    put_after_discard: sends((socket) => {
      socket.discard();
      store.put("late", 1);
    }),
    stop: () => stop("asked to"),
    stop_reply: () => stop("asked to", { last: "words" }),
    status: (payload) => reply(field(payload, "status")),
    no_reply: () => {},

    fail: () => fail("asked to fail"),
    huge: (payload) => "x".repeat(field(payload, "bytes")),
    huge_assigns(_, socket) {
      socket.state.ballast = "x".repeat(1 << 20);
      return ok;
    },
    long_status: (_, socket) => raw.reply(socket.ref!, { status: "s".repeat(256), payload: json({}) }),
    push_array: () => raw.push("array", json([1])),
    bad_json: () => raw.push("bad", { tag: "json", val: '{"a":' }),
    bad_ref: () => raw.reply('"1",', { status: "ok", payload: json({}) }),
    publish_elsewhere: (_, socket) => socket.publish("elsewhere:1", "hello"),
    long_event: () => raw.push("e".repeat(256), json({})),
    effects(_, socket) {
      for (let n = 0; n < 1_000_000; n++) socket.push("one_of_many", { n });
    },
    timers(_, socket) {
      for (let n = 0; n < 17; n++) socket.sendAfter(60_000, "timer");
    },
    short_timer: (_, socket) => void socket.sendAfter(9, "timer"),
    tick: sends((socket) => socket.tick(100)),
    log_lines() {
      for (let n = 0; n < 257; n++) console.log(`line ${n}`);
    },

    track: sends((socket, payload) => socket.track(field(payload, "key"), field(payload, "meta"))),
    track_text: sends((_, payload) => presence.track(field(payload, "key"), field(payload, "meta"))),
    update_presence: sends((socket, payload) => socket.updatePresence(field(payload, "key"), field(payload, "meta"))),
    untrack: sends((socket, payload) => socket.untrack(field(payload, "key"))),
    push_presence: sends((socket) => socket.pushPresences()),
    send: sends((socket, payload) => socket.send(field(payload, "topic"), field(payload, "event"), field(payload, "payload"))),
    send_member: sends((socket, payload) =>
      socket.sendMember(field(payload, "topic"), field(payload, "member"), field(payload, "event"), field(payload, "payload"))),
    push_to_socket: sends((socket, payload) =>
      socket.pushToSocket(field(payload, "topic"), field(payload, "id"), field(payload, "event"), field(payload, "payload"))),
    subscribe: sends((socket, payload) => socket.subscribe(field(payload, "topic"))),
    unsubscribe: sends((socket, payload) => socket.unsubscribe(field(payload, "topic"))),
    disconnect: sends((socket, payload) => socket.disconnect(field(payload, "id"))),
    people: (payload) => topics.members(field(payload, "topic")).map(({ user }) => user ?? null),
    topics: (payload) => topics.under(field(payload, "prefix")).map(({ name, members }) => [name, members]),

    ...timedEvents,
    store_put: put,
    store_put_expiring(payload) {
      store.putExpiring(field(payload, "key"), field(payload, "value"), field(payload, "ms"));
      return store.get(payload.key) ?? null;
    },
    store_get: (payload) => store.get(field(payload, "key")) ?? null,
    store_delete: sends((_, payload) => store.delete(field(payload, "key"))),
    store_scan(payload) {
      const { after, before, backward, limit = 1000 } = payload, prefix = field(payload, "prefix");
      return store.list({ prefix, from: after === undefined ? undefined : `${after}\0`, to: before, reverse: !!backward, limit });
    },
    store_count(payload) {
      const count = (store.get(field(payload, "key")) ?? 0) + 1;
      store.put(payload.key, count);
      return { count };
    },
    http_get: httpGet,
    deliver,
    deliver_then_fail(payload) {
      deliver(payload);
      fail("asked to fail after a delivery");
    },
    http_count(payload) {
      const count = (store.get(field(payload, "key")) ?? 0) + 1, body = http.get(field(payload, "url")).text();
      store.put(payload.key, count);
      return { count, body };
    },
    http_send: httpSend,
    store_own(payload) {
      const key = field(payload, "key"), read = [store.get(key) ?? null];
      store.put(key, 1);
      read.push(store.get(key));
      store.delete(key);
      read.push(store.get(key) ?? null);
      store.put(key, 2);
      return [...read, store.get(key)];
    },
    store_then_fail(payload, socket, message) {
      put(payload, socket, message);
      fail("asked to fail after a put");
    },
    store_no_key: () => store.put("", 1),
    store_long_key: () => store.put("k".repeat(1025), 1),
    store_long_value: () => rawStore.put(bytes("k"), new Uint8Array((1 << 20) + 1)),
    store_many() {
      for (let n = 0; n < 1025; n++) store.put(`many:${n}`, n);
    },
    store_much() {
      for (let n = 0; n < 5; n++) store.putBytes(`much:${n}`, new Uint8Array(1_000_000));
    },
  },

  info: {
    "*"(payload, socket, { source, topic, event }) {
      const heard = { topic: "heard", answer: "answered", member: "addressed" }[source as string];
      if (source === "http") socket.push(event, shown(payload));
      else if (heard) socket.push(heard, { topic, event, payload });
      else if (event === "later") socket.reply(payload.to, { late: true });
      else if (event === "self") socket.push("told", { source });
      else if (event === "secret") socket.push("handed_over", payload);
      else if (event === "info_stop") return stop("asked to");
      else if (event === "info_fail") fail("asked to fail in handle_info");
      else if (event === "info_reply") fail("handle_info can't reply: the SDK drops what it returns");
      else if (event === "timer") {
        socket.state.timer = null;
        socket.push("rang");
      } else if (event === "flood") {
        for (let n = 0; n < 600; n++) socket.sendSelf("flood");
      }
    },
  },

  message: {
    ...timedEvents,
    wait_for_answer: waitForAnswer,
    echo: (payload) => payload,
    shout: (payload, topic) => topic.broadcast("shout", payload),
    shout_droppable(payload, topic) {
      topic.broadcastDroppable("shouts", "shout", payload);
      topic.publishDroppable(field(payload, "to"), "shouts", "shout", payload);
    },
    refuse: () => refuse("no"),
    refuse_late(payload, topic, message) {
      topic.broadcast("late");
      put(payload, topic, message);
      refuse("too late");
    },
    tell_member({ topic: to, member, id }, topic) {
      topic.sendMember(to, member, "told");
      topic.pushToSocket(to, id, "shown");
    },
    crash: () => fail("asked to fail in handle_message"),
    put: (payload, topic, message) => put(payload, topic, message),
    http_get: httpGet,
    http_send: httpSend,
    deliver,
    quiet: () => {},
    "*": (_payload, _topic, { event }) => refuse(`unknown event ${JSON.stringify(event)}`),
  },

  topicInfo: {
    http_answer: (payload, topic) => topic.broadcast("http_answer", shown(payload)),
    undelivered({ url, status, reason }, topic) {
      const counter = `undelivered:${url}`, times = (store.get(counter) ?? 0) + 1;
      store.put(counter, times);
      topic.broadcast("undelivered", { url, status, reason, times });
    },
    "*": told,
  },

  intercept: {
    secret(payload, { id, state }) {
      switch (state.mood) {
        case "replace": return { for: id, secret: payload };
        case "replace_with_array": return [1];
        case "fail": return fail("asked to fail in handle_out");
        case "store": return store.put("secret", true);
        case "entry": return entries.put("secret", true);
        case "ask": return raw.push("asked", json(payload));
        case "drop": return drop;
        case "hand_over": return handOver;
      }
    },
  },

  leave(cause, socket, detail) {
    if (socket.topic === "naughty:last_words") socket.push("last_words", { timer: socket.sendAfter(1000, "timer") });
    socket.broadcast("gone", { member: socket.id, cause, detail });
  },
});

const forgiving = channel({
  onFault: "keep",
  state: { count: 0, fails_out: false },
  join(params, socket) {
    socket.state.fails_out = !!params.fails_out;
  },
  on: {
    count: (_, socket) => ({ count: ++socket.state.count }),
    count_and_fail(_, socket) {
      socket.state.count++;
      socket.broadcast("counted");
      fail("asked to fail after it counted");
    },
    self_fail(_, socket) {
      socket.sendSelf("fail");
      return { count: socket.state.count };
    },
    secret(payload, socket) {
      socket.broadcast("secret", payload);
      return { count: socket.state.count };
    },
  },
  info: { "*": () => fail("asked to fail in handle_info") },
  intercept: {
    secret(_, { state }) {
      if (state.fails_out) fail("asked to fail in handle_out");
    },
  },
});

const lasting = channel({ room: {}, durable: true, lingerMs: 0, on: entryEvents, message: entryEvents });

interface Hall { count: number; ended: string[]; mood: string; ballast: string }

const count: Handler = (_, topic: Topic<Hall>) => ({ count: ++topic.room.count });
const look: Handler = (_, { room }: Topic<Hall>) => ({ count: room.count, ended: room.ended });
const publish: Handler = (payload, topic: Topic<Hall>) => {
  topic.publishState(field(payload, "state"));
  return ok;
};

const unruly = channel<{}, Hall>({
  room: { count: 0, ended: [], mood: "tell", ballast: "" },
  lingerMs: 100,
  tickFaults: 3,
  on: {
    ...entryEvents, count, look, publish,
    tick: sends((socket, payload) => socket.tick(field(payload, "ms"))),
    at_tick: sends((socket, payload) => void (socket.room.mood = field(payload, "mood"))),
    sit: sends((socket, payload) => socket.takeSeat(field(payload, "seat"), field(payload, "ms"))),
    rise: sends((socket) => socket.leaveSeat()),
    publish_raw: sends((_, payload) => raw.publishState(field(payload, "state"))),
    clear: sends((socket) => socket.clearRoom()),
    stop: () => stop("asked to"),
    grow: sends((socket) => void (socket.room.ballast = "x".repeat(1 << 20))),
    count_and_refuse(_, socket) {
      socket.room.count++;
      socket.publishState({ late: true });
      socket.takeSeat("late", 1000);
      refuse("too late");
    },
    count_and_fail(_, socket) {
      socket.room.count++;
      fail("asked to fail after it counted");
    },
  },
  message: {
    entry_put: entryEvents.entry_put, entry_get: entryEvents.entry_get, entry_delete: entryEvents.entry_delete, entries: entryEvents.entries,
    count, look, publish,
    "*": (_payload, _topic, { event }) => refuse(`unknown event ${JSON.stringify(event)}`),
  },
  seat: (change, seat, topic) => topic.broadcast("seat", { seat, change }),
  tick({ number, missed, periodMs }, topic) {
    if (topic.room.mood === "fail") fail("asked to fail in handle_tick");
    topic.broadcast("beat", { number, missed, period_ms: periodMs });
  },
  leave: (cause, socket) => void socket.room.ended.push(cause),
});

/** Topics that publish the entries with the prefixes `p/` and `q/`. */
function putAll(wanted: Fields) {
  for (const [key, value] of Object.entries(wanted)) value === null ? entries.delete(key) : entries.put(key, value);
}

const published = channel({
  room: {},
  lingerMs: 100,
  publishes: ["p/", "q/"],
  join(params) {
    for (const prefix of params.follow ?? []) entries.follow(prefix);
    putAll(params.put ?? {});
  },
  on: {
    put: sends((_, payload) => putAll(payload)),
    put_then_fail(payload) {
      putAll(payload);
      fail("asked to fail after a put");
    },
    follow: sends((_, { prefix }) => entries.follow(prefix)),
    unfollow: sends((_, { prefix }) => entries.unfollow(prefix)),
    follows: sends((_, { count, prefix }) => {
      for (let n = 0; n < count; n++) entries.follow(`${prefix}${n}`);
    }),
    publish,
    put_null: () => entries.put("p/null", null),
    put_messagepack: () => rawEntries.put(bytes("p/text"), new Uint8Array([0xa4, ...bytes("text")])),
    put_much() {
      for (let n = 0; n < 3; n++) entries.put(`p/${n}`, "x".repeat(1_000_000));
    },
  },
  message: {
    put(payload) {
      putAll(payload);
      return ok;
    },
    "*": (_payload, _topic, { event }) => refuse(`unknown event ${JSON.stringify(event)}`),
  },
});

const channels = { "naughty:*": naughty, "unruly:*": unruly, "public:*": published, "forgiving:*": forgiving, "lasting:*": lasting };

/** The build that writes version 1 of entries. */
export const second = plugin({
  ...channels,
  "unruly:*": {
    ...unruly,
    entriesVersion: 1,
    upgradeEntry(was, version, key) {
      if (key === "refused") fail("it refuses this entry");
      return { from: version, was };
    },
  },
});

export default plugin(channels);
