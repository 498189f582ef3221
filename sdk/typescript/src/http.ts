import * as hostHttp from "bennu:channel/http@0.1.0";
import { Refusal } from "./channel.ts";
import { name, text } from "./payload.ts";
import { onlyInCallbacks } from "./phase.ts";
import { decode, encode } from "./text.ts";

/** The options of `http.get`. */
export interface HttpOptions {
  /** `GET`, or `HEAD`. */
  method?: "GET" | "HEAD";
  headers?: Record<string, string>;
  /** The time to the end of the answer, in milliseconds. The host's limit still counts. */
  timeoutMs?: number;
}

/** The options of `http.request`. */
export interface HttpRequest {
  /** `POST`, if nothing else is given. */
  method?: string;
  headers?: Record<string, string>;
  /** The body as text or bytes. */
  body?: string | Uint8Array;
  /** The body as a JSON value, with the header `content-type`. */
  json?: unknown;
  timeoutMs?: number;
}

/** The options of `http.deliver`. */
export interface HttpDelivery {
  /** Headers. Those whose names begin with `webhook-` are the host's. */
  headers?: Record<string, string>;
  /** The body as text or bytes. */
  body?: string | Uint8Array;
  /** The body as a JSON value, with the header `content-type`. */
  json?: unknown;
  /** Deliveries of the plugin with the same key are sent one after the other, in the order in which they were asked for. */
  order?: string;
  /** The time after which it is given up, in milliseconds. Default: a day; at most a week. */
  expiresMs?: number;
  /**
   * If the delivery is refused or given up, the topic's `topicInfo` gets this event: `{ delivery, url, status, reason }`, with the id, and
   * a status if there was an answer.
   */
  onFailure?: string;
  /** The keys of a browser's subscription, whose `endpoint` is the URL: the host encrypts the body, and sends a push message. */
  push?: { p256dh: string; auth: string };
}

/** An answer, with any status. */
export class HttpResponse {
  readonly status: number;
  /** The headers, with names in lower case. Of several headers with one name, the last one. */
  readonly headers: Record<string, string>;
  readonly body: Uint8Array;

  constructor(status: number, headers: [string, string][], body: Uint8Array) {
    this.status = status;
    this.headers = Object.fromEntries(headers);
    this.body = body;
  }

  /** Whether the status is from 200 to 299. */
  get ok(): boolean {
    return this.status >= 200 && this.status < 300;
  }

  text(): string {
    return decode(this.body);
  }

  json<T = any>(): T {
    return JSON.parse(this.text());
  }
}

/**
 * There is no answer. If a callback doesn't catch it, the client gets an `error` reply, `{"reason": "unavailable"}`, and the member
 * stays.
 */
export class HttpFailure extends Refusal {
  /** `busy`, `timeout`, `too-large`, `unreachable`, `broken` or `redirect`. Later hosts may add kinds. */
  readonly kind: string;
  readonly detail: string;

  constructor(kind: string, detail: string) {
    super({ reason: "unavailable" });
    this.kind = kind;
    this.detail = detail;
  }
}

function pairs(headers: Record<string, string>): { name: string; value: string }[] {
  return Object.entries(headers).map(([name, value]) => ({
    name: text("the name of a header", name), value: text(`the header \`${name}\``, String(value)),
  }));
}

/** The headers and the body of a request. */
function content(headers: Record<string, string>, body: string | Uint8Array, json: unknown): [Record<string, string>, Uint8Array] {
  if (json !== undefined) [body, headers] = [JSON.stringify(json), { "content-type": "application/json", ...headers }];
  if (typeof body === "string") return [headers, encode(body)];
  if (!(body instanceof Uint8Array)) throw new TypeError(`the body must be a string or a Uint8Array, and not ${typeof body}`);
  return [headers, body];
}

/** The settings that are given. */
function settings(all: Record<string, unknown>): { name: string; value: string }[] {
  const given = Object.entries(all).filter(([, value]) => value !== undefined);
  return given.map(([name, value]) => ({ name, value: text(`the setting \`${name}\``, String(value)) }));
}

/** Requests by HTTP to the URLs that the operator grants. */
export const http = {
  /** Waits for the answer of a server. Throws an `HttpFailure` if there is none. */
  get(url: string, { method = "GET", headers = {}, timeoutMs }: HttpOptions = {}): HttpResponse {
    onlyInCallbacks("http.get");
    const asked = [text("a method", method), text("a URL", url), pairs(headers), settings({ "timeout-ms": timeoutMs })] as const;
    let answer: any;
    try {
      answer = hostHttp.get(...asked);
    } catch (problem: any) {
      const { kind, detail } = problem?.payload ?? {};
      if (kind === undefined) throw problem;
      throw new HttpFailure(kind, detail);
    }
    return new HttpResponse(answer.status, answer.headers.map(({ name, value }: any) => [name, value]), new Uint8Array(answer.body));
  },
  /**
   * Sends a request after the callback has succeeded, at most once. This member's `info` gets the answer as the event `key`:
   * `{ status, headers, body }`, or `{ failure, detail }`. In a callback of a topic, such as `message`, `topicInfo` gets it.
   */
  request(key: string, url: string, { method = "POST", headers = {}, body = "", json, timeoutMs }: HttpRequest = {}): void {
    onlyInCallbacks("http.request");
    const [all, bytes] = content(headers, body, json);
    const asked = [text("a method", method), text("a URL", url), pairs(all), bytes, settings({ "timeout-ms": timeoutMs })] as const;
    hostHttp.request(name("a key", key), ...asked);
  },
  /**
   * Sends a `POST` after the callback has succeeded, until the server accepts it with a status from 200 to 299. It is stored with the
   * other writes of the callback, and survives a restart of the host. The server may receive it more than once, with the same
   * header `webhook-id`. Returns this id.
   */
  deliver(url: string, { headers = {}, body = "", json, order, expiresMs, onFailure, push }: HttpDelivery = {}): string {
    onlyInCallbacks("http.deliver");
    const [all, bytes] = content(headers, body, json);
    if (order !== undefined) name("an order key", order);
    if (onFailure !== undefined) name("an event", onFailure);
    const pushKeys = { "push-p256dh": push?.p256dh, "push-auth": push?.auth };
    const given = settings({ order, "expires-ms": expiresMs, "on-failure": onFailure, ...pushKeys });
    return hostHttp.deliver(text("a URL", url), pairs(all), bytes, given);
  },
};
