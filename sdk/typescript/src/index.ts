/// <reference path="../contract.d.ts" />
/** Channels for Bennu in TypeScript and JavaScript. */

import * as host from "bennu:channel/host@0.1.0";
import * as presence from "bennu:channel/presence@0.1.0";
import * as hostTopics from "bennu:channel/topics@0.1.0";
import { name, text } from "./payload.ts";
import { onlyInCallbacks } from "./phase.ts";
import type { Presences } from "./topic.ts";

export { channel, drop, handOver, plugin, refuse, reply, stop } from "./channel.ts";
export type { Answer, Channel, Recipient, Source, Tick, TopicMessage } from "./channel.ts";
export { forbid, gatekeeper } from "./gatekeeper.ts";
export type { ConnectRequest, Gatekeeper, Identity } from "./gatekeeper.ts";
export { http, HttpFailure, HttpResponse } from "./http.ts";
export type { HttpDelivery, HttpOptions, HttpRequest } from "./http.ts";
export { schedule } from "./schedule.ts";
export { entries, store } from "./stored.ts";
export type { Range } from "./stored.ts";
export { Socket, Topic } from "./topic.ts";
export type { Presences } from "./topic.ts";
export { token, TokenProblem } from "./token.ts";

/** The host's time, in milliseconds since 1970. */
export function now(): number {
  return Number(host.now());
}

/**
 * An id of 20 characters that no other call gets, on this host or on any node of its cluster. Ids sort in the order in which they were
 * created. Two ids that two nodes create at about the same time may sort in either order.
 */
export function uniqueId(): string {
  onlyInCallbacks("uniqueId");
  return host.uniqueId();
}

/** The plugin's configuration: the table `plugins.NAME.config`, or `{}`. */
export function config<T = any>(): T {
  return JSON.parse(host.configuration());
}

/** Topics that the plugin may read about: its own, and those that `plugins.NAME.read` grants. Any other topic is a fault. */
export const topics = {
  /** The presences of a topic, without the effects of the running callback. */
  presences(topic: string): Presences {
    onlyInCallbacks("topics.presences");
    return JSON.parse(presence.list(name("a topic", topic)));
  },
  /** The metas of one key of a topic. Empty if the key has no presence. */
  presence(topic: string, key: string): Record<string, any>[] {
    onlyInCallbacks("topics.presence");
    return JSON.parse(presence.get(name("a topic", topic), name("a key", key)) ?? "null")?.metas ?? [];
  },
  /**
   * The number of a topic's members. In a cluster, members at other nodes count as they were about a second before. So if a join compares
   * the number with a limit, a topic can get more members than that.
   */
  count(topic: string): number {
    onlyInCallbacks("topics.count");
    return hostTopics.count(name("a topic", topic));
  },
  /**
   * Up to so many members of a topic, at most 1,000, in no particular order. In a cluster, the call may wait up to 250 ms for other nodes,
   * and the members at a node that hasn't answered then are missing.
   */
  members(topic: string, limit: number = 1000): { member: number; user?: string; socketId?: string }[] {
    onlyInCallbacks("topics.members");
    return hostTopics.members(name("a topic", topic), limit).map(({ member, user, socketId }: any) => ({
      member: Number(member), user: user ?? undefined, socketId: socketId ?? undefined,
    }));
  },
  /** The topics that begin with a prefix and have members, in the order of their bytes: after `after`, and at most 1,000. */
  under(prefix: string, after?: string, limit: number = 1000): { name: string; members: number }[] {
    onlyInCallbacks("topics.under");
    return hostTopics.under(text("a prefix", prefix), after && text("a topic", after), limit);
  },
};
