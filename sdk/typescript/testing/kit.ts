// A client of `bennu kit`: `bennu docs kit` describes the lines. It has none of the host's rules.
import { Buffer } from "node:buffer";
import { MessageChannel, receiveMessageOnPort, Worker } from "node:worker_threads";
import { callbacks } from "../src/callbacks.ts";
import type { Packed } from "../src/payload.ts";
import { phase } from "../src/phase.ts";
import { inEngine } from "./globals.ts";
import { base64, fields, runs } from "./running.ts";
import type { Fired } from "./running.ts";

type Fields = Record<string, any>;

/** How long `bennu kit` may take for an answer, in milliseconds. */
const WAIT = 60_000;

const bytes = (text: string) => new Uint8Array(Buffer.from(text, "base64"));

// QuickJS has these, and so do newer versions of Node.
const { prototype } = Uint8Array as any;
(Uint8Array as any).fromBase64 ??= bytes;
prototype.toBase64 ??= function (this: Uint8Array) { return base64(this); };
prototype.toHex ??= function (this: Uint8Array) { return Buffer.from(this).toString("hex"); };

const packed = (line: Fields): Packed => line.payload_base64 === undefined
  ? { tag: "json", val: JSON.stringify(line.payload) } : { tag: "binary", val: bytes(line.payload_base64) };
const state = (text: string | null) => (text === null ? undefined : bytes(text));
const reply = (given: any) => given && { status: given.status, ...fields(given.payload) };

/** A fault that ends the running callback. */
class Fault extends Error {}

/** A host without clients, whose plugin is in this process. */
export class Kit {
  #port;
  #given = new Int32Array(new SharedArrayBuffer(4));
  #taken = 0;
  #plugin: any;
  /** What the running callback was fired by. */
  fired: Fired | undefined;

  constructor(channels: any) {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    const workerData = { program: process.env.BENNU ?? "bennu", port: port2, given: this.#given };
    new Worker(new URL("./wire.mjs", import.meta.url), { workerData, transferList: [port2], execArgv: [] }).unref();
    this.serve(channels);
  }

  /** Serves these channels from now on. Members and rooms stay. */
  serve(channels: any): void {
    this.#plugin = callbacks(channels);
    const described = this.#plugin.channel.describe().map(({ pattern, intercepts, assignsVersion, roomVersion, options }: any) => ({
      pattern, intercepts, assigns_version: assignsVersion, room_version: roomVersion, options: grouped(options),
    }));
    this.do("routes", { routes: described, states: "base64" });
  }

  /** Does something from outside. Runs the callbacks that follow from it. */
  do(what: string, given: Fields = {}): any {
    this.#write({ do: what, ...given });
    for (;;) {
      const line = this.#read();
      if (line.call === undefined) return answer(line);
      this.#run(line);
    }
  }

  ask(what: string, given: Fields): any {
    this.#write({ ask: what, ...given });
    return answer(this.#read());
  }

  close(): void {
    this.#port.postMessage(null);
    this.#port.close();
  }

  #run(line: Fields): void {
    let result;
    try {
      runs(this);
      this.fired = line.call === "handle_topic_info" ? { due_ms: line.due_ms, key: line.key } : undefined;
      phase.isEvaluating = false;
      result = { return: inEngine(() => this.#call(line)) };
    } catch (problem) {
      result = { fail: problem instanceof Error ? (problem.stack ?? String(problem)) : String(problem) };
    } finally {
      runs(undefined);
      phase.isEvaluating = true;
    }
    this.#write(result);
  }

  #call(line: Fields): Fields {
    const { topic, event, part, version } = line, { channel, ...optional } = this.#plugin, room = state(line.room ?? null);
    const member = { id: line.member, topic, assigns: state(line.assigns ?? null) ?? new Uint8Array(), room };
    const onlyRoom = (given: any) => changed({ room: given });
    switch (line.call) {
      case "join": {
        const { tag, val } = channel.join(line.member, topic, packed(line), room);
        return tag === "refused" ? { refuse: fields(val) } : { ...changed(val), ...fields(val.response) };
      }
      case "handle_in": return outcome(channel.handleIn(member, event, packed(line), line.ref ?? undefined));
      case "handle_info": return outcome(channel.handleInfo(member, { event, payload: packed(line), source: line.source, topic: line.from }));
      case "terminate": return onlyRoom(channel.terminate(member, line));
      case "handle_message": return outcome(optional.handleMessage.handleMessage(topic, event, packed(line), room));
      case "handle_topic_info": {
        return onlyRoom(optional.handleTopicInfo.handleTopicInfo(topic, { event, payload: packed(line), source: line.source, topic }, room));
      }
      case "handle_tick": return onlyRoom(optional.handleTick.handleTick(topic, { ...line, periodMs: line.period_ms }, room));
      case "handle_seat": return onlyRoom(optional.handleSeat.handleSeat(topic, line.seat, line.change, room));
      case "handle_out": {
        const [{ tag, val }] = optional.handleOut.handleOut(topic, event, packed(line), [{ member: line.member, assigns: member.assigns }]);
        return { decision: tag.replace("-", "_"), ...(val && fields(val)) };
      }
      case "upgrade": return { state: base64(optional.upgrade.upgrade(topic, part, version, state(line.state) ?? new Uint8Array())) };
      case "upgrade_entry": return { value: base64(optional.upgradeEntry.upgradeEntry(topic, bytes(line.key), version, bytes(line.value))) };
      default: throw new Error(`bennu kit calls \`${line.call}\`, which this test kit doesn't have; write it again with \`bennu types\``);
    }
  }

  #write(line: Fields): void {
    this.#port.postMessage(JSON.stringify(line));
  }

  /** Waits for the next line. */
  #read(): Fields {
    // A line that was taken before its notification came wakes the wait for the next one, so a wake alone means nothing.
    while (Atomics.load(this.#given, 0) === this.#taken) {
      if (Atomics.wait(this.#given, 0, this.#taken, WAIT) === "timed-out") throw new Error("`bennu kit` doesn't answer");
    }
    this.#taken += 1;
    const { line, ended } = receiveMessageOnPort(this.#port)!.message;
    if (ended) throw new Error(`\`bennu kit\` ${ended}`);
    return JSON.parse(line);
  }
}

function answer(line: Fields): any {
  if (line.fault) throw new Fault(`${line.fault.kind}: ${line.fault.detail}`);
  if (line.error) throw new Error(`bennu kit: ${line.error}`);
  return line.ok;
}

/** The changed states of a callback. */
function changed({ assigns, room }: any): Fields {
  return { ...(assigns && { assigns: base64(assigns) }), ...(room && { room: base64(room) }) };
}

function outcome({ assigns, room, answer, reply: given }: any): Fields {
  const { tag, val } = answer ?? { tag: given && "reply", val: given };
  return {
    ...changed({ assigns, room }),
    ...(tag === "reply" && { reply: reply(val) }),
    ...(tag === "stop" && { stop: { reason: val.reason, reply: reply(val.reply) } }),
  };
}

/** The options of a route: one value, or several values of one name. */
function grouped(options: { name: string; value: string }[]): Fields {
  const all: Fields = {};
  for (const { name, value } of options) all[name] = name in all ? [all[name], value].flat() : value;
  return all;
}
