import * as droppable from "bennu:channel/droppable@0.1.0";
import * as hostMember from "bennu:channel/member@0.1.0";
import * as presence from "bennu:channel/presence@0.1.0";
import * as effects from "bennu:channel/socket@0.1.0";
import * as topics from "bennu:channel/topics@0.1.0";
import { count, duration, name, objectText, pack, packObject, text } from "./payload.ts";
import { CallState } from "./state.ts";

const DAY_MS = 24 * 60 * 60 * 1000;
const U32_MAX = 2 ** 32 - 1;

/** The presences of a topic, by key. */
export type Presences = Record<string, { metas: Record<string, any>[] }>;

/** A topic, and the effects that need no member. */
export class Topic<R = any> {
  /** The topic's name. */
  declare readonly topic: string;
  #room: CallState<R> | undefined;

  /** `room` isn't there if the channel has no room. */
  constructor(topic: string, room: CallState<R> | undefined) {
    this.topic = topic;
    this.#room = room;
  }

  /** The room of a channel without one is for this call only. */
  get #shared(): CallState<R> {
    return (this.#room ??= new CallState<R>(undefined, "{}"));
  }

  /** The state that all members of the topic share. Change it in place, or assign another object. */
  get room(): R {
    return this.#shared.value;
  }

  set room(value: R) {
    this.#shared.value = value;
  }

  /** Deletes the state that all members share, also a stored one. The next callback gets the first one again. */
  clearRoom(): void {
    this.#shared.clear();
  }

  /** Sends an event to all members of the topic. A payload is an object, or bytes. */
  broadcast(event: string, payload: object = {}): void {
    effects.broadcast(event, packObject(event, payload));
  }

  /**
   * Sends an event of which a slow client needs only the latest with the same key, such as the position of a cursor. A client is never
   * closed because of such events, and may miss some.
   */
  broadcastDroppable(key: string, event: string, payload: object = {}): void {
    droppable.broadcastDroppable(name("a key", key), event, packObject(event, payload));
  }

  /**
   * Sends an event to all members of another topic. It must be a topic of this plugin, or be granted by `plugins.NAME.publish`;
   * otherwise this is a fault. In a cluster, it goes to the members at all nodes, after the callback's writes are stored. If this node is
   * declared dead between the two, the event is lost, although the writes are there.
   */
  publish(topic: string, event: string, payload: object = {}): void {
    effects.publish(name("a topic", topic), event, packObject(event, payload));
  }

  /** Like `publish`, for an event of which a slow client needs only the latest with the same key. */
  publishDroppable(topic: string, key: string, event: string, payload: object = {}): void {
    droppable.publishDroppable(name("a topic", topic), name("a key", key), event, packObject(event, payload));
  }

  /**
   * Sends a message to another topic, for its `message`. If that answers, this member's `info` gets the answer. The same topics as for
   * `publish` are allowed. The topic doesn't need to have members.
   */
  send(topic: string, event: string, payload: unknown = {}): void {
    effects.send(name("a topic", topic), name("an event", event), pack(payload));
  }

  /**
   * Calls the `info` of a member of any topic, with the source `member`. `member` is its number: `socket.id`, or one of `topics.members`.
   * The same topics as for `publish` are allowed. If the member has ended, nothing happens.
   */
  sendMember(topic: string, member: number, event: string, payload: unknown = {}): void {
    effects.sendMember(name("a topic", topic), count("a member", member), name("an event", event), pack(payload));
  }

  /**
   * Sends an event to the client of each member of a topic whose socket has this id, for example to all tabs of a user. The same topics
   * as for `publish` are allowed.
   */
  pushToSocket(topic: string, socketId: string, event: string, payload: object = {}): void {
    effects.pushToSocket(name("a topic", topic), name("a socket id", socketId), event, packObject(event, payload));
  }

  /**
   * Discards all effects that the callback has asked for so far, and its writes to the store and to entries. After that, an effect or a
   * write is a fault. The changes of the state and the room, and the answer, still count. `refuse` discards all of them.
   */
  discard(): void {
    effects.discard();
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
    effects.answer(text("a ref", ref), { status: name("a status", status), payload: pack(response) });
  }

  /** Closes every socket with this id. The member's own id is always allowed; other ids need a grant, as for `publish`. */
  disconnect(socketId: string): void {
    effects.disconnect(name("a socket id", socketId));
  }

  /**
   * Shows a state of the topic to all members, a JSON object. They get it whole at first (`room_state`), and then only changes
   * (`room_diff`). A field that is null counts as absent. It needs a channel with a `room`.
   */
  publishState(state: object): void {
    effects.publishState(objectText("a published state", state));
  }

  /** Calls `tick` at this period, in milliseconds, at least 10. 0 ends the ticks. It needs a channel with a `room`. */
  tick(milliseconds: number): void {
    effects.tick(duration("a period", milliseconds, U32_MAX));
  }

  /** The presences of this topic, without the effects of the running callback. */
  get presences(): Presences {
    return JSON.parse(presence.list(this.topic));
  }

  /** The number of this topic's members. See `topics.count` for what that is in a cluster. */
  get memberCount(): number {
    return topics.count(this.topic);
  }
}

/** A member of a topic: one client's membership. */
export class Socket<S = any, R = any> extends Topic<R> {
  /** The member's number. No other member has it while the host runs, and in a cluster no other member of any node. */
  declare readonly id: number;
  /** The ref of the client's message, for a later `reply`. It can be kept in the state. Only a message with a ref has one. */
  declare readonly ref: string | undefined;
  #state: CallState<S>;

  constructor(id: number, topic: string, state: CallState<S>, room: CallState<R> | undefined, ref: string | undefined) {
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
    droppable.broadcastFromDroppable(name("a key", key), event, packObject(event, payload));
  }

  /** Calls this member's `info` after the messages that wait in its queue. */
  sendSelf(event: string, payload: unknown = {}): void {
    effects.sendSelf(name("an event", event), pack(payload));
  }

  /**
   * Calls this member's `info` after a time in milliseconds, at least 10. Returns the timer's number. A member has at most 16 timers,
   * which end with it.
   */
  sendAfter(milliseconds: number, event: string, payload: unknown = {}): number {
    return Number(effects.sendAfter(count("a time", milliseconds), name("an event", event), pack(payload)));
  }

  /** Cancels a timer. If it has fired, nothing happens. */
  cancel(timer: number): void {
    effects.cancel(count("a timer", timer));
  }

  /**
   * Gives this member's `info` the broadcasts of another topic, with the source `topic`. It must be a topic of this plugin, or be
   * granted by `plugins.NAME.read`. A member subscribes to at most 64 topics.
   */
  subscribe(topic: string): void {
    effects.subscribe(name("a topic", topic));
  }

  /** Ends a subscription. */
  unsubscribe(topic: string): void {
    effects.unsubscribe(name("a topic", topic));
  }

  /** Answers an earlier message of this member, whose `socket.ref` was kept. A message may be answered more than once. */
  reply(ref: string, response: unknown, status: string = "ok"): void {
    effects.reply(text("a ref", ref), { status: name("a status", status), payload: pack(response) });
  }

  /**
   * Puts this member on a seat of the topic, such as a user's name. A member has one seat. If its connection drops, the host keeps the
   * seat for a grace period in milliseconds, at most a day. `seat` is told each change. It needs a channel with a `room`.
   */
  takeSeat(seat: string, graceMs: number): void {
    effects.takeSeat(name("a seat", seat), duration("a grace period", graceMs, DAY_MS));
  }

  /** Gives up this member's seat. */
  leaveSeat(): void {
    effects.leaveSeat();
  }

  /**
   * Tracks this member's presence under a key, with a meta of at most 4 KiB. A member has at most 16 presences, each under another key.
   * They end with the member.
   */
  track(key: string, meta: object = {}): void {
    presence.track(name("a key", key), objectText("a meta", meta));
  }

  /** Replaces the meta of this member under a key. If it isn't tracked under that key, this is a fault. */
  updatePresence(key: string, meta: object): void {
    presence.update(name("a key", key), objectText("a meta", meta));
  }

  /** Ends this member's presence under a key. */
  untrack(key: string): void {
    presence.untrack(name("a key", key));
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

  /** The ref of the client's join, as JSON: for example `"1"` with its quotes, or `null`. */
  get joinRef(): string {
    return hostMember.joinRef();
  }

  /** `websocket` or `longpoll`. */
  get transport(): string {
    return hostMember.transport();
  }

  /** The request headers that start with `x-`, with names in lower case. */
  get xHeaders(): [string, string][] {
    return hostMember.xHeaders();
  }
}
