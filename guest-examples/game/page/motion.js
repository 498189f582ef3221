// Interpolates between the received states: twenty states a second are too few for a smooth movement.
//
// The shown time is slightly in the past, so that there is nearly always one state before it and one after it.

/** The tick period: the time from one state to the next, in milliseconds. */
const TICK = 50;
/** The delay of the shown time: two ticks, so that a late tick isn't visible. */
const DELAY = 100;
/** A runner can't run this far in one tick; a longer distance is a jump, and isn't interpolated. */
const LEAP = 120;
const KEPT = 1_000;

export class Motion {
  #states = [];

  /** Takes the received places, by seat. */
  push(places, now) {
    const last = this.#states.at(-1);
    // If nothing moves, no state comes. So the last state was still valid one tick ago.
    if (last && now - last.at > 2 * TICK) this.#states.push({ at: now - TICK, places: last.places });
    this.#states.push({ at: now, places });
    while (this.#states.length > 2 && this.#states[1].at < now - KEPT) this.#states.shift();
  }

  /** The places to show now. */
  at(now) {
    const shown = now - DELAY;
    const next = this.#states.findIndex(({ at }) => at > shown);
    if (next < 0) return this.#states.at(-1)?.places ?? new Map();
    const [before, after] = [this.#states[Math.max(next - 1, 0)], this.#states[next]];
    const part = after.at === before.at ? 1 : Math.max((shown - before.at) / (after.at - before.at), 0);
    return new Map([...after.places].map(([seat, to]) => [seat, between(before.places.get(seat) ?? to, to, part)]));
  }
}

function between(from, to, part) {
  if (Math.hypot(to.x - from.x, to.y - from.y) > LEAP) return to;
  return { x: from.x + (to.x - from.x) * part, y: from.y + (to.y - from.y) * part };
}
