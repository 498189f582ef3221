// Broadcast and presence of Supabase Realtime, for its own clients, such as `@supabase/realtime-js`. Each topic
// `realtime:NAME` is one of their channels. docs/realtime.md says what is there, and what is different.
//
// | the client sends | what it does | reply |
// | --- | --- | --- |
// | a join with `config.broadcast.self`, `config.broadcast.ack` | it gets its own broadcasts; they are acknowledged | `ok {"postgres_changes": []}` |
// | a join with `config.presence.key` | sets its presence key | the same |
// | a join with `config.private` and `access_token` | joins a private channel, if the token allows it | the same |
// | `broadcast {"type", "event", "payload"}`, or bytes | sends the same to the others | `ok {}` with `ack` |
// | `presence {"event": "track", "payload"}` | tracks the client, with that meta | `ok {}` |
// | `presence {"event": "untrack"}` | ends its presence | `ok {}` |
// | `access_token {"access_token"}` | replaces the token of a private channel | none |
//
// | the client gets | when |
// | --- | --- |
// | `broadcast` | another member broadcasts, or a stored broadcast is replayed |
// | `presence_state`, `presence_diff` | as in Phoenix |
// | `system {"extension", "status": "error", "message", "channel"}` | something went wrong that no reply could say |
//
// The configuration is `plugins.realtime.config`: `private` lists the channels that are private, such as `["chat:*"]`, and
// `jwt_secret` is the secret of access tokens, for HS256.

import { channel, config, now, plugin, refuse, stop, store, uniqueId } from "bennu";
import type { Socket } from "bennu";

interface Config {
  /** Names of private channels. A star at the end stands for any rest. */
  private?: string[];
  /** The secret that is shared with the signer of access tokens. Without it, the claims of the connection count. */
  jwt_secret?: string;
}

/** What this plugin reads of a token. */
interface Claims {
  /** When the token expires, in seconds since 1970. */
  exp?: number;
  /** The private channels that the user may use. A star at the end stands for any rest. */
  realtime?: { read?: string[]; write?: string[] };
}

/** What a token allows in a private channel. Change this function for other rules. */
function allowed({ realtime }: Claims, name: string): { read: boolean; write: boolean } {
  return { read: matches(realtime?.read, name), write: matches(realtime?.write, name) };
}

/** One client in one channel. */
interface Member {
  /** The key of its presence. */
  key: string;
  /** The meta of its presence, as JSON. Empty if it isn't tracked. */
  meta: string;
  hearsItself: boolean;
  wantsAnswers: boolean;
  isPrivate: boolean;
  mayWrite: boolean;
  token: string;
  /** When the token expires, in seconds since 1970. 0 means never. */
  expires: number;
  /** The timer of the next check of the token. */
  timer: number;
}

interface UserBroadcast {
  event: string;
  payload: unknown;
  /** `persist` asks to store the broadcast: for the given seconds, or as long as possible. */
  meta?: { persist?: boolean | { ttl?: number } };
}

interface StoredBroadcast {
  event: string;
  payload: unknown;
  /** In milliseconds since 1970. */
  sent: number;
  expires: number;
}

/** How often a token is checked again, in milliseconds. */
const CHECK_MS = 5 * 60_000;

/** How long a broadcast is stored at most, in milliseconds. */
const STORED_MS = 3 * 24 * 60 * 60_000;

/** How many broadcasts of a channel are stored. Later ones replace the oldest. */
const STORED_MAX = 100;

/** How many broadcasts one join replays. */
const REPLAYED_MAX = 25;

const nameOf = (topic: string) => topic.slice("realtime:".length);

function matches(patterns: string[] | undefined, name: string): boolean {
  return (patterns ?? []).some((pattern) => (pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern));
}

/** Joins a private channel with the claims of a token. Refuses a client that may not read it. */
function enter(socket: Socket<Member>, claims: Claims, token: string) {
  const name = nameOf(socket.topic), { read, write } = allowed(claims, name);
  if (!read) refuse(`Unauthorized: You do not have permissions to read from this Channel topic: ${name}`);
  Object.assign(socket.state, { mayWrite: write, token, expires: claims.exp ?? 0 });
  checkLater(socket);
}

/** Sets the timer of the next check of the token. */
function checkLater(socket: Socket<Member>) {
  const { state } = socket;
  if (state.timer) socket.cancel(state.timer);
  state.timer = state.expires ? socket.sendAfter(Math.max(10, Math.min(CHECK_MS, state.expires * 1000 - now())), "check_token") : 0;
}

/** Ends the membership, with a reason that the client shows. */
function shutDown(socket: Socket<Member>, message: string) {
  socket.push("system", { extension: "system", status: "error", message, channel: nameOf(socket.topic) });
  return stop("normal");
}

/** Checks a token with the configured secret, or returns the claims of the connection. Throws a `BadToken`. */
function claimsOf(socket: Socket<Member>, token: unknown): Claims {
  const secret = config<Config>().jwt_secret;
  if (secret === undefined) return socket.claims;
  if (secret.length < 32) throw new RangeError("plugins.realtime.config.jwt_secret must have at least 32 characters");
  if (typeof token !== "string" || token === "") throw new BadToken("MalformedJWT", "The token provided is not a valid JWT");
  return verified(token, secret, Math.floor(now() / 1000));
}

/** The keys of the stored broadcasts of a channel. No other channel's keys begin with it, because a name can't add a slash. */
const storedUnder = (name: string) => `${encodeURIComponent(name)}/`;

/** Stores a broadcast for clients that join later. */
function persist(name: string, { event, payload, meta }: UserBroadcast) {
  const ttl = typeof meta?.persist === "object" ? meta.persist.ttl : undefined;
  if (ttl !== undefined && !(typeof ttl === "number" && ttl > 0)) refuse({ error: "persist.ttl must be a number of seconds" });
  const sent = now(), expires = sent + Math.min(STORED_MS, (ttl ?? Infinity) * 1000);
  const before = store.list<StoredBroadcast>({ prefix: storedUnder(name), limit: STORED_MAX });
  const old = before.filter(([, { expires }]) => expires <= sent).map(([key]) => key);
  const spare = before.length - old.length < STORED_MAX ? [] : before.slice(0, 1).map(([key]) => key);
  for (const key of new Set([...old, ...spare])) store.delete(key);
  store.put(storedUnder(name) + uniqueId(), { event, payload, sent, expires } satisfies StoredBroadcast);
}

/** Sends a client the last stored broadcasts since a time. */
function replay(socket: Socket<Member>, wanted: unknown) {
  const { since, limit = REPLAYED_MAX } = (wanted ?? {}) as { since?: unknown; limit?: unknown };
  if (!socket.state.isPrivate) refuse("UnableToReplayMessages: Replay is not allowed for public channels");
  if (typeof since !== "number" || typeof limit !== "number" || !(limit >= 1 && limit <= REPLAYED_MAX)) {
    refuse("UnableToReplayMessages: Replay params are not valid");
  }
  const prefix = storedUnder(nameOf(socket.topic));
  const all = store.list<StoredBroadcast>({ prefix, limit: STORED_MAX });
  const found = all.filter(([, { sent, expires }]) => sent >= since && expires > now()).slice(-limit);
  for (const [key, { event, payload }] of found) {
    socket.push("broadcast", { type: "broadcast", event, payload, meta: { replayed: true, id: key.slice(prefix.length) } });
  }
}

/** Whether bytes ask to be stored. They begin with the lengths of the user's event and of the metadata. */
function asksToPersist(packed: Uint8Array): boolean {
  const [event, metadata] = packed;
  return metadata > 0 && !!JSON.parse(new TextDecoder().decode(packed.subarray(2 + event, 2 + event + metadata))).persist;
}

const realtime = channel<Member>({
  state: {
    key: "", meta: "", hearsItself: false, wantsAnswers: false, isPrivate: false, mayWrite: true, token: "", expires: 0, timer: 0,
  },

  join(params, socket) {
    const name = nameOf(socket.topic), { broadcast = {}, presence = {}, postgres_changes = [], ...rest } = params?.config ?? {};
    if (name === "") refuse("TopicNameRequired: You must provide a topic name");
    if (postgres_changes?.length || broadcast.replication_ready) {
      refuse("RealtimeDisabledForConfiguration: there are no postgres_changes here, because there is no database");
    }
    const isPrivate = !!rest.private, mustBe = matches(config<Config>().private, name);
    if (mustBe && !isPrivate) refuse(`PrivateOnly: ${name} is a private channel`);
    if (isPrivate && !mustBe) refuse(`Unauthorized: ${name} is no private channel here; plugins.realtime.config.private lists them`);
    const key = presence.key ? String(presence.key) : uniqueId();
    Object.assign(socket.state, { key, hearsItself: !!broadcast.self, wantsAnswers: !!broadcast.ack, isPrivate });
    if (isPrivate) {
      const token = params.access_token ?? "";
      try {
        enter(socket, claimsOf(socket, token), String(token));
      } catch (problem) {
        if (problem instanceof BadToken) refuse(`${problem.code}: ${problem.message}`);
        throw problem;
      }
    }
    if (broadcast.replay) replay(socket, broadcast.replay);
    if (presence.enabled ?? true) socket.pushPresences();
    return { postgres_changes: [] };
  },

  on: {
    broadcast(message: UserBroadcast | Uint8Array, socket) {
      const { hearsItself, wantsAnswers, isPrivate, mayWrite } = socket.state;
      if (!mayWrite) return;
      if (message instanceof Uint8Array) {
        if (asksToPersist(message)) refuse({ error: "bytes can't be stored" });
        send(message);
      } else {
        const { meta, ...rest } = message;
        if (meta?.persist) {
          if (!isPrivate) refuse({ error: "broadcasts of public channels can't be stored" });
          persist(nameOf(socket.topic), message);
        }
        send(rest);
      }
      return wantsAnswers ? {} : undefined;

      function send(payload: object) {
        if (hearsItself) socket.broadcast("broadcast", payload);
        else socket.broadcastFrom("broadcast", payload);
      }
    },

    presence({ event, payload = {} }: { event?: string; payload?: any }, socket) {
      const { state } = socket;
      switch (event?.toLowerCase()) {
        case undefined:
          return {};
        case "track": {
          if (!state.mayWrite) refuse({});
          if (typeof payload !== "object" || payload === null || Array.isArray(payload)) refuse("Presence track payload must be a map");
          const meta = JSON.stringify(payload);
          if (meta === state.meta) return {};
          if (state.meta) socket.updatePresence(state.key, payload);
          else socket.track(state.key, payload);
          state.meta = meta;
          return {};
        }
        case "untrack":
          if (state.meta) socket.untrack(state.key);
          state.meta = "";
          return {};
        default:
          return refuse({});
      }
    },

    access_token({ access_token: token }: { access_token?: unknown }, socket) {
      const { state } = socket;
      if (!state.isPrivate || typeof token !== "string" || token.startsWith("sb_") || token === state.token) return;
      if (config<Config>().jwt_secret === undefined) return;
      try {
        const claims = claimsOf(socket, token), name = nameOf(socket.topic);
        if (!allowed(claims, name).read) {
          return shutDown(socket, `You no longer have permission to read from this Channel topic: ${name}`);
        }
        enter(socket, claims, token);
      } catch (problem) {
        if (problem instanceof BadToken) return shutDown(socket, problem.message);
        throw problem;
      }
    },
  },

  info: {
    check_token(_: unknown, socket) {
      const late = Math.floor(now() / 1000) - socket.state.expires;
      if (late >= 0) return shutDown(socket, `Token has expired ${late} seconds ago`);
      socket.state.timer = 0;
      checkLater(socket);
    },
  },
});

// Access tokens: JSON Web Tokens with HS256.

class BadToken extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** Returns the claims of a token that is signed with this secret and hasn't expired. `time` is in seconds since 1970. */
function verified(token: string, secret: string, time: number): Claims {
  const malformed = new BadToken("MalformedJWT", "The token provided is not a valid JWT");
  const [header, body, signature, ...rest] = token.split(".");
  if (signature === undefined || rest.length) throw malformed;
  let algorithm: unknown, claims: Claims & { nbf?: unknown }, given: Uint8Array;
  try {
    const text = (part: string) => JSON.parse(new TextDecoder().decode(fromBase64(part)));
    [algorithm, claims, given] = [text(header).alg, text(body), fromBase64(signature)];
  } catch {
    throw malformed;
  }
  const bytes = (text: string) => new TextEncoder().encode(text);
  const wanted = hmac(bytes(secret), bytes(`${header}.${body}`));
  const difference = wanted.reduce((all, byte, at) => all | (byte ^ (given[at] ?? 256)), given.length ^ wanted.length);
  if (algorithm !== "HS256" || difference !== 0) throw new BadToken("JwtSignatureError", "Failed to validate JWT signature");
  if (typeof claims !== "object" || claims === null || typeof claims.exp !== "number") {
    throw new BadToken("InvalidJWTToken", "Field `exp` is required in JWT");
  }
  if (typeof claims.nbf === "number" && claims.nbf > time) throw new BadToken("InvalidJWTToken", "Token is not valid yet");
  if (claims.exp <= time) throw new BadToken("InvalidJWTToken", `Token has expired ${Math.floor(time - claims.exp)} seconds ago`);
  return claims;
}

function fromBase64(text: string): Uint8Array {
  return (Uint8Array as any).fromBase64(text, { alphabet: "base64url" });
}

function hmac(key: Uint8Array, message: Uint8Array): Uint8Array {
  const block = new Uint8Array(64);
  block.set(key.length > 64 ? sha256(key) : key);
  const joined = (one: Uint8Array, other: Uint8Array) => {
    const both = new Uint8Array(one.length + other.length);
    both.set(one);
    both.set(other, one.length);
    return both;
  };
  const inner = sha256(joined(block.map((byte) => byte ^ 0x36), message));
  return sha256(joined(block.map((byte) => byte ^ 0x5c), inner));
}

/** FIPS 180-4, 6.2. */
function sha256(message: Uint8Array): Uint8Array {
  const rotated = (word: number, by: number) => (word >>> by) | (word << (32 - by));
  const { roots, first } = constants();
  const blocks = Math.ceil((message.length + 9) / 64), padded = new DataView(new ArrayBuffer(blocks * 64));
  new Uint8Array(padded.buffer).set(message);
  padded.setUint8(message.length, 0x80);
  padded.setUint32(blocks * 64 - 8, Math.floor(message.length / 0x20000000));
  padded.setUint32(blocks * 64 - 4, message.length << 3);
  const hash = Int32Array.from(first), words = new Int32Array(64);
  for (let block = 0; block < blocks; block++) {
    for (let at = 0; at < 16; at++) words[at] = padded.getInt32(block * 64 + at * 4);
    for (let at = 16; at < 64; at++) {
      const [early, late] = [words[at - 15], words[at - 2]];
      const low = rotated(early, 7) ^ rotated(early, 18) ^ (early >>> 3);
      const high = rotated(late, 17) ^ rotated(late, 19) ^ (late >>> 10);
      words[at] = words[at - 16] + low + words[at - 7] + high;
    }
    let [a, b, c, d, e, f, g, h] = hash;
    for (let at = 0; at < 64; at++) {
      const one = h + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) + ((e & f) ^ (~e & g)) + roots[at] + words[at];
      const two = (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + one) | 0, c, b, a, (one + two) | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((word, at) => (hash[at] += word));
  }
  const digest = new DataView(new ArrayBuffer(32));
  hash.forEach((word, at) => digest.setInt32(at * 4, word));
  return new Uint8Array(digest.buffer);
}

/** The first 32 bits of the fractions of the cube roots of the first 64 primes, and of the square roots of the first 8. */
function constants(): { roots: Int32Array; first: Int32Array } {
  const roots = new Int32Array(64), first = new Int32Array(8), primes: number[] = [];
  for (let number = 2; primes.length < 64; number++) if (primes.every((prime) => number % prime)) primes.push(number);
  const fraction = (root: number) => (root % 1) * 0x100000000 | 0;
  primes.forEach((prime, at) => (roots[at] = fraction(Math.cbrt(prime))));
  primes.slice(0, 8).forEach((prime, at) => (first[at] = fraction(Math.sqrt(prime))));
  return { roots, first };
}

export default plugin({ "realtime:*": realtime });
