// The contract's imports, each as a line to `bennu kit`.
import { Buffer } from "node:buffer";
import type { Packed } from "../src/payload.ts";
import { log, now, random } from "./globals.ts";
import { ask, base64 as text, fields, fired } from "./running.ts";

const bytes = (text: string | null) => (text === null ? undefined : new Uint8Array(Buffer.from(text, "base64")));

const sends = (name: string) => (event: string, payload: Packed) => ask(name, { event, ...fields(payload) });
const sendsTo = (name: string) => (topic: string, event: string, payload: Packed) => ask(name, { topic, event, ...fields(payload) });
const range = (start: Uint8Array | undefined, end: Uint8Array | undefined) => ({ ...(start && { start: text(start) }), ...(end && { end: text(end) }) });
const scans = (name: string) => (start: any, end: any, order: string, limit: number): [string, string][] =>
  ask(name, { ...range(start, end), backward: order === "backward", limit });

/** Makes a packed list, as the contract has it: the lengths of each item's parts, and the parts. */
function packed(items: (Uint8Array | undefined)[][]): Uint8Array {
  const parts = items.flatMap((item) => {
    const lengths = Buffer.alloc(4 * item.length);
    item.forEach((part, at) => lengths.writeUInt32LE(part?.length ?? 0xffff_ffff, 4 * at));
    return [lengths, ...item.map((part) => part ?? new Uint8Array())];
  });
  return new Uint8Array(Buffer.concat(parts));
}

/** Reads a packed list, of which each item has so many parts. */
function unpacked(list: Uint8Array, parts: number): Uint8Array[][] {
  const view = new DataView(list.buffer, list.byteOffset, list.byteLength), items = [];
  for (let at = 0; at < list.length; ) {
    let from = at + 4 * parts;
    const item = Array.from({ length: parts }, (_, part) => list.subarray(from, (from += view.getUint32(at + 4 * part, true))));
    items.push(item);
    at = from;
  }
  return items;
}

/** The fields of a request by HTTP. */
function asked(method: string, url: string, headers: { name: string; value: string }[], settings: { name: string; value: string }[]) {
  const timeout = settings.find(({ name }) => name === "timeout-ms");
  return { method, url, headers: headers.map(({ name, value }) => [name, value]), ...(timeout && { timeout_ms: Number(timeout.value) }) };
}

const noRequest = () => {
  throw new Error("`bennu kit` has no gatekeepers; test one on a running host");
};

export const contract: Record<string, Record<string, (...given: any[]) => any>> = {
  host: {
    now,
    uniqueId: () => ask("unique_id"),
    random,
    configuration: () => JSON.stringify(ask("configuration")),
    log,
  },
  member: {
    socketId: () => ask("socket").socket_id,
    joinRef: () => JSON.stringify(ask("socket").join_ref),
    user: () => ask("socket").user,
    claims: () => JSON.stringify(ask("socket").claims),
    transport: () => ask("socket").transport,
    connectParams: () => JSON.stringify(ask("socket").params),
    xHeaders: () => ask("socket").x_headers,
  },
  request: Object.fromEntries(["mount", "transport", "params", "headers", "peer", "uri", "authToken"].map((name) => [name, noRequest])),
  topics: {
    count: (topic) => ask("count", { topic }),
    members: (topic, limit) => ask("members", { topic, limit }).map(({ member, user, socket_id }: any) => ({ member, user, socketId: socket_id })),
    answerRef: () => ask("answer_ref"),
    under: (prefix, after, limit) => ask("topics", { prefix, after, limit }).map(([name, members]: any) => ({ name, members })),
  },
  token: {
    sign: (salt, value, max_age) => ask("sign", { salt, value: JSON.parse(value), max_age }),
    verify(salt, token, max_age) {
      const { value, problem } = ask("verify", { salt, token, max_age });
      if (problem) throw problem;
      return JSON.stringify(value);
    },
  },
  presence: {
    list: (topic) => JSON.stringify(ask("presences", { topic })),
    get: (topic, key) => JSON.stringify(ask("presence", { topic, key })),
    track: (key, meta_text) => ask("track", { key, meta_text }),
    update: (key, meta_text) => ask("update_presence", { key, meta_text }),
    untrack: (key) => ask("untrack", { key }),
    pushState: () => ask("push_presences"),
  },
  store: {
    get: (key) => bytes(ask("get", { key: text(key) })),
    scan: (...given) => scans("scan")(...given as [any, any, string, number]).map(([key, value]) => ({ key: bytes(key), value: bytes(value) })),
    put: (key, value) => ask("put", { key: text(key), value: text(value) }),
    putExpiring: (key, value, ms) => ask("put_expiring", { key: text(key), value: text(value), ms }),
    delete: (key) => ask("delete", { key: text(key) }),
  },
  schedule: {
    schedule: (topic, at_ms, key, event, payload) => ask("schedule", { topic, at_ms, key, event, ...fields(payload) }),
    cancelSchedule: (topic, key) => ask("cancel_schedule", { topic, key }),
    get: (topic, key) => ask("schedule_due", { topic, key }),
    due: () => fired().due_ms,
    key: () => fired().key,
  },
  entries: {
    get: (key) => bytes(ask("entry_get", { key: text(key) })),
    getMany: (keys) => packed(ask("entries_get", { keys: unpacked(keys, 1).map(([key]) => text(key)) }).map((value: any) => [bytes(value)])),
    scan: (...given) => packed(scans("entry_scan")(...given as [any, any, string, number]).map((entry) => entry.map(bytes))),
    put: (key, value) => ask("entry_put", { key: text(key), value: text(value) }),
    putMany: (entries) => ask("entries_put", { entries: unpacked(entries, 2).map((entry) => entry.map(text)) }),
    delete: (key) => ask("entry_delete", { key: text(key) }),
    deleteRange: (start, end, limit) => ask("entries_delete_range", { ...range(start, end), limit }),
    follow: (prefix) => ask("follow", { prefix }),
    unfollow: (prefix) => ask("unfollow", { prefix }),
  },
  http: {
    get(method, url, headers, settings) {
      const { failure, detail, status, headers: got, body, body_base64 } = ask("http_get", asked(method, url, headers, settings));
      if (failure !== undefined) throw { payload: { kind: failure, detail } };
      const pairs = got.map(([name, value]: [string, string]) => ({ name, value }));
      return { status, headers: pairs, body: body === undefined ? bytes(body_base64) : new Uint8Array(Buffer.from(body)) };
    },
    deliver(url, headers, body, settings) {
      const { order, "expires-ms": expires, "on-failure": onFailure, "push-p256dh": p256dh, "push-auth": auth } = Object.fromEntries(settings.map(({ name, value }: any) => [name, value]));
      const pairs = headers.map(({ name, value }: any) => [name, value]);
      const given = { order, expires_ms: expires && Number(expires), on_failure: onFailure, push_p256dh: p256dh, push_auth: auth };
      return ask("http_deliver", { url, headers: pairs, body_base64: text(body), ...given });
    },
    request: (key, method, url, headers, body, settings) =>
      ask("http_request", { key, ...asked(method, url, headers, settings), body: new TextDecoder("utf-8", { fatal: true }).decode(body) }),
  },
  socket: {
    push: sends("push"),
    broadcast: sends("broadcast"),
    broadcastFrom: sends("broadcast_from"),
    sendSelf: sends("send_self"),
    publish: sendsTo("publish"),
    send: sendsTo("send"),
    sendMember: (topic, member, event, payload) => ask("send_member", { topic, member, event, ...fields(payload) }),
    pushToSocket: (topic, socket_id, event, payload) => ask("push_to_socket", { topic, socket_id, event, ...fields(payload) }),
    discard: () => ask("discard"),
    subscribe: (topic) => ask("subscribe", { topic }),
    unsubscribe: (topic) => ask("unsubscribe", { topic }),
    disconnect: (socket_id) => ask("disconnect", { socket_id }),
    reply: (ref, { status, payload }) => ask("reply", { ref, status, ...fields(payload) }),
    answer: (ref, { status, payload }) => ask("answer", { ref, status, ...fields(payload) }),
    sendAfter: (ms, event, payload) => ask("send_after", { ms, event, ...fields(payload) }),
    publishState: (state_text) => ask("publish_state", { state_text }),
    takeSeat: (seat, ms) => ask("take_seat", { seat, ms }),
    leaveSeat: () => ask("leave_seat"),
    tick: (ms) => ask("tick", { ms }),
    cancel: (timer) => ask("cancel", { timer }),
  },
  droppable: {
    broadcastDroppable: (key, event, payload) => ask("broadcast_droppable", { key, event, ...fields(payload) }),
    broadcastFromDroppable: (key, event, payload) => ask("broadcast_from_droppable", { key, event, ...fields(payload) }),
    publishDroppable: (topic, key, event, payload) => ask("publish_droppable", { topic, key, event, ...fields(payload) }),
  },
};
