// One game that we are in: its channel, its state, and whether we have a seat.

import { RoomState } from "./room_state.mjs";

/** For so long it is said what has become of a game while we were away. */
const NEWS_LASTS = 15_000;

export class Play {
  #channel;
  /** Our seat; null while we watch, undefined before we know. */
  seat = undefined;
  /** Why we may not come in. */
  refused = undefined;
  isJoined = false;
  /** What has become of the game while we were away: `anew` if it has begun again from nothing, `gone` if our seat was given up. */
  news = undefined;
  /** What we had when the connection was lost: our seat, and the number of the state that we saw last. */
  #left = undefined;
  #changed;
  #timer;

  constructor(socket, topic, who, changed) {
    this.topic = topic;
    this.#changed = () => changed(this);
    this.#channel = socket.channel(topic, who);
    this.room = new RoomState(this.#channel, { onChange: (_, patch) => this.#stateCame(patch === null) });
    const lost = () => {
      if (this.isJoined) this.#left = { seat: this.seat, n: this.room.n };
      this.isJoined = false;
      this.#tell(undefined);
    };
    this.#channel.onError(lost);
    this.#channel.onClose(lost);
    // It is called for each time that the channel joins, after a lost connection too.
    this.#channel
      .join()
      .receive("ok", ({ seat }) => {
        const hadSeat = this.#left !== undefined && this.#left.seat !== null;
        Object.assign(this, { seat, isJoined: true });
        if (hadSeat && seat === null) this.#tell("gone");
        else changed(this);
      })
      .receive("error", ({ reason }) => {
        this.refused = reason ?? "";
        this.leave();
        changed(this);
      });
  }

  /** Null before it has come. */
  get state() {
    return this.room.state;
  }

  /** Asks for something, and gives whether it was granted. What was asked for while nobody listens is lost. */
  ask(event, payload = {}) {
    if (!this.isJoined) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const pushed = this.#channel.push(event, payload);
      pushed.receive("ok", resolve).receive("error", () => resolve(undefined)).receive("timeout", () => resolve(undefined));
    });
  }

  /** Says something that nobody answers. */
  tell(event, payload) {
    if (this.isJoined) this.#channel.push(event, payload);
  }

  /** All of the state comes once we are in again. A lower number than before is that of a game that has begun anew. */
  #stateCame(isWhole) {
    const left = this.#left;
    if (this.isJoined && isWhole) {
      this.#left = undefined;
      if (left && this.room.n < left.n) return this.#tell("anew");
    }
    this.#changed();
  }

  /** Says for a while what has become of the game. */
  #tell(news) {
    clearTimeout(this.#timer);
    this.news = news;
    if (news) this.#timer = setTimeout(() => this.#tell(undefined), NEWS_LASTS);
    this.#changed();
  }

  async sit() {
    const answer = await this.ask("sit");
    if (answer) this.seat = answer.seat;
  }

  /** Leaves for good: the seat is given up. */
  leave() {
    clearTimeout(this.#timer);
    this.room.detach();
    this.#channel.leave();
  }
}
