// Movement between the states that come: twenty a second are too few to look smooth.
//
// What is shown is a little in the past, so that there is nearly always a state on either side of it.

/** From one state to the next. */
const BEAT = 50;
/** So long ago is what is shown: two beats, so that one that is late does no harm. */
const DELAY = 100;
/** Nobody runs so far in a beat: who did was put there. */
const LEAP = 120;
const KEPT = 1_000;

export class Motion {
  #states = [];

  /** Takes the places that came, by seat. */
  push(places, now) {
    const last = this.#states.at(-1);
    // Where nothing moves nothing comes; so what was before it was so until just now.
    if (last && now - last.at > 2 * BEAT) this.#states.push({ at: now - BEAT, places: last.places });
    this.#states.push({ at: now, places });
    while (this.#states.length > 2 && this.#states[1].at < now - KEPT) this.#states.shift();
  }

  /** The places to show. */
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
