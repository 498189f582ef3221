// One game that this window has joined: its channel, its state, and our seat.

import { RoomState } from "./room_state.mjs";

/** How long the page shows what happened to the game while the connection was lost. */
const NEWS_LASTS = 15_000;

export class Play {
  #channel;
  /** Our seat; null while we watch, undefined before the first join. */
  seat = undefined;
  /** The reason for a refused join. */
  refused = undefined;
  isJoined = false;
  /** What happened to the game while the connection was lost: `anew` if it is a new game, `gone` if our seat was given up. */
  news = undefined;
  /** At the loss of the connection: our seat, and the number of the last received state. */
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
    // The callback runs after each join, also after a lost connection.
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

  /** Null before the first state has come. */
  get state() {
    return this.room.state;
  }

  /** Sends a request; resolves to the answer, or to undefined if it was refused. Without a connection the request is dropped. */
  ask(event, payload = {}) {
    if (!this.isJoined) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const pushed = this.#channel.push(event, payload);
      pushed.receive("ok", resolve).receive("error", () => resolve(undefined)).receive("timeout", () => resolve(undefined));
    });
  }

  /** Sends an event that has no answer. */
  tell(event, payload) {
    if (this.isJoined) this.#channel.push(event, payload);
  }

  /** After each join the whole state comes. If its number is lower than before, it is a new game. */
  #stateCame(isWhole) {
    const left = this.#left;
    if (this.isJoined && isWhole) {
      this.#left = undefined;
      if (left && this.room.n < left.n) return this.#tell("anew");
    }
    this.#changed();
  }

  /** Sets the news, and removes it after a while. */
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

  /** Leaves the game, and gives the seat up. */
  leave() {
    clearTimeout(this.#timer);
    this.room.detach();
    this.#channel.leave();
  }
}
