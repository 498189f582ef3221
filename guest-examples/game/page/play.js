// One game that we are in: its channel, its state, and whether we have a seat.

import { RoomState } from "./room_state.mjs";

export class Play {
  #channel;
  /** Our seat; null while we watch, undefined before we know. */
  seat = undefined;
  /** Why we may not come in. */
  refused = undefined;
  isJoined = false;

  constructor(socket, topic, who, changed) {
    this.topic = topic;
    this.#channel = socket.channel(topic, who);
    this.room = new RoomState(this.#channel, { onChange: () => changed(this) });
    const lost = () => {
      this.isJoined = false;
      changed(this);
    };
    this.#channel.onError(lost);
    this.#channel.onClose(lost);
    // It is called for each time that the channel joins, after a lost connection too.
    this.#channel
      .join()
      .receive("ok", ({ seat }) => {
        Object.assign(this, { seat, isJoined: true });
        changed(this);
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

  async sit() {
    const answer = await this.ask("sit");
    if (answer) this.seat = answer.seat;
  }

  /** Leaves for good: the seat is given up. */
  leave() {
    this.room.detach();
    this.#channel.leave();
  }
}
