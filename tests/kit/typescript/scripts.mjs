// Plays the scripts of tests/scripts in Node, on the test kit of the TypeScript SDK, with the plugin `naughty` in TypeScript.
//
//     BENNU=path/to/bennu node --import sdk/typescript/testing/register.mjs scripts.mjs GRANTS SCRIPT...
//
// GRANTS is the table `plugins.naughty` of the configuration, as JSON.

import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";

import { frameOf } from "../../../sdk/typescript/testing/frames.ts";
import { Kit } from "../../../sdk/typescript/testing/kit.ts";
import first, { second } from "./naughty.ts";

const ANYTHING = "…";
const TIME = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** Expected JSON, in which an ellipsis outside of strings stands for any value. */
const pattern = (text) => JSON.parse(text.replace(/"(?:[^"\\]|\\.)*"|…/g, (part) => (part === ANYTHING ? `"${ANYTHING}"` : part)));

function matches(expected, received) {
  if (expected === ANYTHING) return true;
  if (typeof expected !== "object" || expected === null || typeof received !== "object" || received === null) {
    return Object.is(expected, received);
  }
  const keys = Object.keys(expected);
  return Array.isArray(expected) === Array.isArray(received) && isDeepStrictEqual(keys.toSorted(), Object.keys(received).toSorted())
    && keys.every((key) => matches(expected[key], received[key]));
}

/** The first word, and the rest. */
function cut(text) {
  const [, first, rest] = /^(\S*)\s*(.*)$/s.exec(text.trim());
  return [first, rest];
}

/** A message in a script's words: `EVENT [on TOPIC] [#LABEL] [PAYLOAD]`. */
function words(text, beginsWithTopic = false) {
  let [word, rest] = cut(text), topic, status, label;
  if (beginsWithTopic) [topic, [word, rest]] = [word, cut(rest)];
  if (word === "reply") [status, rest] = cut(rest);
  else if (word === "ok" || word === "error") status = word;
  if (word === "join" && rest) [topic, rest] = cut(rest);
  for (;;) {
    const [next, after] = cut(rest);
    if (next === "on") [topic, rest] = cut(after);
    else if (next.startsWith("#")) [label, rest] = [next, after];
    else break;
  }
  return { word, topic, status, label, payload: rest ? pattern(rest) : {} };
}

class Actor {
  constructor(kit, who = {}) {
    const { socket_id, user, claims, params } = who;
    Object.assign(this, { kit, client: kit.do("connect", { socket_id, user, claims, params }), labels: {}, joins: {} });
  }

  push({ word, topic = this.topic, label, payload }) {
    const event = { join: "phx_join", leave: "phx_leave" }[word] ?? word, isJoin = event === "phx_join";
    this.last = this.kit.do("push", { client: this.client, topic, event, payload, join_ref: isJoin ? undefined : this.joins[topic] });
    if (isJoin) [this.joins[topic], this.topic] = [this.last, topic];
    if (label) this.labels[label] = this.last;
  }

  /** The expected frames. The next frame must be one of them. */
  expects({ word, topic = this.topic, status, label, payload }) {
    const join = this.joins[topic] ?? null, ref = label ? this.labels[label] : this.last;
    if (status) return [[join, ref, topic, "phx_reply", { status, response: payload }]];
    if (word === "unmatched") return [[null, ref, topic, "phx_reply", { status: "error", response: { reason: "unmatched topic" } }]];
    if (word === "phx_close") return [[join, join, topic, "phx_close", {}]];
    if (word === "phx_error") return [[join, join, topic, "phx_error", { reason: "channel_crash" }]];
    return [null, join].map((which) => [which, null, topic, word, payload]);
  }

  next() {
    const received = this.kit.do("next", { client: this.client });
    if (received?.binary_base64) return frameOf(Buffer.from(received.binary_base64, "base64"));
    return received?.frame ?? received;
  }
}

class Cast {
  actors = {};

  constructor(kit) {
    this.kit = kit;
  }

  actor(who) {
    return (this.actors[who] ??= new Actor(this.kit));
  }

  line(text) {
    const [who, rest] = cut(text), [verb, what] = cut(rest);
    if (who === "clock") {
      const [, number, unit] = /^(\d+)(ms|s|m|h)$/.exec(what);
      this.kit.do("advance", { ms: number * TIME[unit] });
    } else if (who === "http") {
      const [method, rest] = cut(what), [url, after] = cut(rest), [outcome, body] = cut(after);
      const answer = /^\d+$/.test(outcome) ? { status: Number(outcome) } : { failure: outcome };
      this.kit.do("http", { method, url, ...answer, ...(body && { body: JSON.stringify(pattern(body)) }) });
    } else if (who === "host") this.host(verb, what);
    else if (verb === "=") this.actors[who] = new Actor(this.kit, JSON.parse(what));
    else if (verb === ">" && what.startsWith("[")) this.kit.do("frame", { client: this.actor(who).client, frame: JSON.parse(what) });
    else if (verb === ">") this.actor(who).push(words(what));
    else if (verb === "x") {
      this.kit.do("close", { client: this.actor(who).client });
      delete this.actors[who];
    } else if (verb === "~") this.see(who, [null]);
    else if (verb === "<" && what.startsWith("close ")) {
      this.see(who, [{ closed: Number(what.split(" ")[1]) }]);
      delete this.actors[who];
    } else if (verb === "<" && what.startsWith("[")) this.see(who, [pattern(what)]);
    else if (verb === "<") this.see(who, this.actor(who).expects(words(what)));
    else throw new Error(`no such verb: ${verb}`);
  }

  see(who, expected) {
    const received = this.actor(who).next();
    if (!expected.some((one) => matches(one, received))) {
      throw new Error(`expected ${JSON.stringify(expected)}\nreceived ${JSON.stringify(received)}`);
    }
  }

  host(verb, what) {
    if (verb === "<") {
      const { word, status, payload } = words(what), expected = word === "none" ? "none" : [status, payload];
      if (!matches(expected, this.answer)) throw new Error(`expected ${JSON.stringify(expected)}\nreceived ${JSON.stringify(this.answer)}`);
      return;
    }
    const [act, rest] = cut(what);
    if (act === "reload") return this.kit.serve(rest === "naughty naughty" ? first : second);
    if (act === "disconnect") {
      if (!(this.kit.do("disconnect", { socket_id: rest }) > 0)) throw new Error("no socket has this id");
      return;
    }
    const { topic, word: event, payload } = words(rest, true);
    try {
      const reply = this.kit.do(act, { topic, event, payload });
      this.answer = reply === null ? "none" : [reply.status, reply.payload];
    } catch (fault) {
      this.answer = ["error", fault.message];
    }
  }
}

const [grants, ...scripts] = process.argv.slice(2);
for (const script of scripts) {
  const kit = new Kit(first), cast = new Cast(kit);
  kit.do("host", JSON.parse(grants));
  for (const [at, text] of readFileSync(script, "utf8").split("\n").entries()) {
    try {
      if (text.trim() && !text.startsWith("--")) cast.line(text);
    } catch (error) {
      console.error(`${script}:${at + 1}: ${text}\n${error.message}\nfaults: ${JSON.stringify(kit.do("faults"))}`);
      process.exitCode = 1;
      break;
    }
  }
  kit.close();
  if (!process.exitCode) console.log(`ok      ${script}`);
}
