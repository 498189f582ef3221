import * as droppable from "bennu:channel/droppable@0.1.0";
import * as hostMember from "bennu:channel/member@0.1.0";
import * as presence from "bennu:channel/presence@0.1.0";
import * as effects from "bennu:channel/socket@0.1.0";
import * as topics from "bennu:channel/topics@0.1.0";
import { count, objectText, pack, packObject, text } from "./payload.ts";
import type { CallState } from "./state.ts";

/** The presences of a topic, by key. */
export type Presences = Record<string, { metas: Record<string, any>[] }>;

/** A topic, and the effects that need no member. */
export class Topic<R = any> {
  /** The topic's name. */
  readonly topic: string;
  #room: CallState<R>;

  constructor(topic: string, room: CallState<R>) {
    this.topic = topic;
    this.#room = room;
  }

  /** The state that all members of the topic share. Change it in place, or assign another object. */
  get room(): R {
    return this.#room.value;
  }

  set room(value: R) {
    this.#room.value = value;
  }

  /** Sends an event to all members of the topic. */
  broadcast(event: string, payload: object = {}): void {
    effects.broadcast(event, packObject(event, payload));
  }

  /** Sends an event of which a slow client needs only the latest with the same key, such as the position of a cursor. */
  broadcastDroppable(key: string, event: string, payload: object = {}): void {
    droppable.broadcastDroppable(text("a key", key), event, packObject(event, payload));
  }

  /** Sends an event to all members of another topic. */
  publish(topic: string, event: string, payload: object = {}): void {
    effects.publish(text("a topic", topic), event, packObject(event, payload));
  }

  /** Sends a message to another topic, for its `message`. If that answers, this member's `info` gets the answer. */
  send(topic: string, event: string, payload: unknown = {}): void {
    effects.send(text("a topic", topic), text("an event", event), pack(payload));
  }

  /**
   * In `message`: a reference to this message, for a later `answer`. Return nothing, and the sender waits on: a member for an hour at
   * most, a caller of the HTTP API for as long as it says. `undefined` if nobody waits.
   */
  get answerRef(): string | undefined {
    return topics.answerRef() ?? undefined;
  }

  /** Answers an earlier message to a topic, whose `answerRef` was kept. If nobody waits any more, nothing happens. */
  answer(ref: string, response: unknown, status: string = "ok"): void {
    effects.answer(text("a ref", ref), { status: text("a status", status), payload: pack(response) });
  }

  /** Closes every socket with this id. */
  disconnect(socketId: string): void {
    effects.disconnect(text("a socket id", socketId));
  }

  /** Shows a state of the topic to all members. They get it whole at first, and then only changes. */
  publishState(state: object): void {
    effects.publishState(objectText("a published state", state));
  }

  /** Calls `tick` at this period, in milliseconds. 0 ends the ticks. */
  tick(milliseconds: number): void {
    effects.tick(count("a period", milliseconds));
  }

  /** The presences of this topic, without the effects of the running callback. */
  get presences(): Presences {
    return JSON.parse(presence.list(this.topic));
  }

  /** The number of this topic's members. */
  get memberCount(): number {
    return topics.count(this.topic);
  }
}

/** A member of a topic: one client's membership. */
export class Socket<S = any, R = any> extends Topic<R> {
  /** The member's number. */
  readonly id: number;
  /** The ref of the client's message, for a later `reply`. */
  readonly ref: string | undefined;
  #state: CallState<S>;

  constructor(id: number, topic: string, state: CallState<S>, room: CallState<R>, ref: string | undefined) {
    super(topic, room);
    this.id = id;
    this.ref = ref;
    this.#state = state;
  }

  /** The member's own state. Change it in place, or assign another object. */
  get state(): S {
    return this.#state.value;
  }

  set state(value: S) {
    this.#state.value = value;
  }

  /** Sends an event to this member's client. */
  push(event: string, payload: object = {}): void {
    effects.push(event, packObject(event, payload));
  }

  /** Sends an event to all members of the topic except this one. */
  broadcastFrom(event: string, payload: object = {}): void {
    effects.broadcastFrom(event, packObject(event, payload));
  }

  /** Like `broadcastDroppable`, without this member. */
  broadcastFromDroppable(key: string, event: string, payload: object = {}): void {
    droppable.broadcastFromDroppable(text("a key", key), event, packObject(event, payload));
  }

  /** Calls this member's `info` after the messages that wait in its queue. */
  sendSelf(event: string, payload: unknown = {}): void {
    effects.sendSelf(text("an event", event), pack(payload));
  }

  /** Calls this member's `info` after a time in milliseconds. Returns the timer's number. */
  sendAfter(milliseconds: number, event: string, payload: unknown = {}): number {
    return Number(effects.sendAfter(count("a time", milliseconds), text("an event", event), pack(payload)));
  }

  /** Cancels a timer. */
  cancel(timer: number): void {
    effects.cancel(count("a timer", timer));
  }

  /** Gives this member's `info` the broadcasts of another topic. */
  subscribe(topic: string): void {
    effects.subscribe(text("a topic", topic));
  }

  /** Ends a subscription. */
  unsubscribe(topic: string): void {
    effects.unsubscribe(text("a topic", topic));
  }

  /** Answers an earlier message of this member, whose `socket.ref` was kept. */
  reply(ref: string, response: unknown, status: string = "ok"): void {
    effects.reply(text("a ref", ref), { status: text("a status", status), payload: pack(response) });
  }

  /** Puts this member on a seat of the topic. The host keeps it for a grace period if the connection drops. */
  takeSeat(name: string, graceMs: number): void {
    effects.takeSeat(text("a seat", name), count("a grace period", graceMs));
  }

  /** Gives up this member's seat. */
  leaveSeat(): void {
    effects.leaveSeat();
  }

  /** Tracks this member's presence under a key. */
  track(key: string, meta: object = {}): void {
    presence.track(text("a key", key), objectText("a meta", meta));
  }

  /** Replaces the meta of this member under a key. */
  updatePresence(key: string, meta: object): void {
    presence.update(text("a key", key), objectText("a meta", meta));
  }

  /** Ends this member's presence under a key. */
  untrack(key: string): void {
    presence.untrack(text("a key", key));
  }

  /** Sends all presences of the topic to this member's client, as `presence_state`. */
  pushPresences(): void {
    presence.pushState();
  }

  /** The user that a token or a gatekeeper gave when the socket connected. */
  get user(): string | undefined {
    return hostMember.user() ?? undefined;
  }

  /** The id of the socket. */
  get socketId(): string | undefined {
    return hostMember.socketId() ?? undefined;
  }

  /** The claims that a token or a gatekeeper gave when the socket connected. */
  get claims(): Record<string, any> {
    return JSON.parse(hostMember.claims());
  }

  /** The parameters of the connection request. */
  get connectParams(): Record<string, any> {
    return JSON.parse(hostMember.connectParams());
  }

  /** `websocket` or `longpoll`. */
  get transport(): string {
    return hostMember.transport();
  }

  /** The request headers that start with `x-`. */
  get xHeaders(): [string, string][] {
    return hostMember.xHeaders();
  }
}
