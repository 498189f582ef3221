/// <reference path="../contract.d.ts" />
/** Channels for Bennu in TypeScript and JavaScript. */

import * as host from "bennu:channel/host@0.1.0";
import * as tokens from "bennu:channel/token@0.1.0";
import * as hostTopics from "bennu:channel/topics@0.1.0";
import { onlyInCallbacks } from "./phase.ts";

export { channel, drop, handOver, plugin, refuse, stop } from "./channel.ts";
export type { Answer, Channel, Recipient, Tick, TopicMessage } from "./channel.ts";
export { schedule } from "./schedule.ts";
export { entries, store } from "./stored.ts";
export type { Range } from "./stored.ts";
export { Socket, Topic } from "./topic.ts";
export type { Presences } from "./topic.ts";

/** The host's time, in milliseconds since 1970. */
export function now(): number {
  return Number(host.now());
}

/** An id that no other call on this host gets. Ids sort in the order in which they were created. */
export function uniqueId(): string {
  onlyInCallbacks("uniqueId");
  return host.uniqueId();
}

/** The plugin's configuration: the table `plugins.NAME.config`. */
export function config<T = any>(): T {
  return JSON.parse(host.configuration());
}

/** Signed tokens in the format of `Phoenix.Token`. */
export const token = {
  sign(salt: string, value: unknown, maxAge?: number): string {
    onlyInCallbacks("token.sign");
    return tokens.sign(salt, JSON.stringify(value), maxAge);
  },
  /** Returns the value that was signed. Throws an `Error` with the message `missing`, `invalid` or `expired`. */
  verify<T = any>(salt: string, token: string, maxAge?: number): T {
    onlyInCallbacks("token.verify");
    return JSON.parse(tokens.verify(salt, token, maxAge));
  },
};

/** Topics that the plugin may read about. */
export const topics = {
  count(topic: string): number {
    onlyInCallbacks("topics.count");
    return hostTopics.count(topic);
  },
  members(topic: string, limit: number = 1000): { member: number; user?: string; socketId?: string }[] {
    onlyInCallbacks("topics.members");
    return hostTopics.members(topic, limit).map(({ member, user, socketId }: any) => ({
      member: Number(member), user: user ?? undefined, socketId: socketId ?? undefined,
    }));
  },
  under(prefix: string, after?: string, limit: number = 1000): { name: string; members: number }[] {
    onlyInCallbacks("topics.under");
    return hostTopics.under(prefix, after, limit);
  },
};
