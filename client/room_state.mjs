// The state that a topic publishes, in the hands of a client of phoenix.js.
//
// The server sends all of it once (`room_state`), and from then on what changed (`room_diff`): JSON merge patches by RFC 7396,
// numbered one by one. Here they are put together.

/**
 * The state of a topic, kept up to date.
 *
 * No state is ever changed: each change makes another one, in which every object and array that is the same as before is the very
 * same one, so that a view can tell by `===` what it has to draw again. Don't change them either.
 */
export class RoomState {
  #channel;
  #bindings;
  #onChange;
  #state = null;
  #n = 0;

  /**
   * Follows a channel's state. Make it before the channel joins: the first state comes right behind the join's reply.
   *
   * @param {{ on: Function, off: Function }} channel A channel of phoenix.js.
   * @param {object} [options]
   * @param {(state: Record<string, any>, patch: Record<string, any> | null) => void} [options.onChange] Is called when there is
   *   another state, with the patch that led to it, or null where all of it came.
   */
  constructor(channel, { onChange = () => {} } = {}) {
    this.#channel = channel;
    this.#onChange = onChange;
    const bind = (event, take) => [event, channel.on(event, take)];
    this.#bindings = [
      bind("room_state", ({ n, state }) => this.#take(n, state, null)),
      bind("room_diff", ({ n, patch }) => this.#follow(n, patch)),
    ];
  }

  /**
   * The state, without what is null, which counts as absent. Null before the first has come.
   *
   * @returns {Record<string, any> | null}
   */
  get state() {
    return this.#state;
  }

  /**
   * The number of the last change that is in it. Each is one more than the one before, until the topic begins anew.
   *
   * @returns {number}
   */
  get n() {
    return this.#n;
  }

  /** Follows no more. The state stays as it is. */
  detach() {
    for (const [event, ref] of this.#bindings) this.#channel.off(event, ref);
    this.#bindings = [];
  }

  /** A change follows the one before, or is of no use: what is older is in the state already, and after a gap all of it comes. */
  #follow(n, patch) {
    if (this.#state !== null && n === this.#n + 1) this.#take(n, merged(this.#state, patch), patch);
  }

  /** All of it is always taken, with a lower number too: the topic has ended and begun anew since this client was last in it. */
  #take(n, state, patch) {
    const before = this.#state;
    this.#n = n;
    this.#state = kept(before, patch === null ? merged({}, state) : state);
    if (this.#state !== before) this.#onChange(this.#state, patch);
  }
}

/** What a merge patch makes of a value, which stays as it is. */
function merged(before, patch) {
  if (!isObject(patch)) return patch;
  const after = new Map(isObject(before) ? Object.entries(before) : []);
  for (const [key, change] of Object.entries(patch)) {
    if (change === null) after.delete(key);
    else after.set(key, merged(after.get(key), change));
  }
  // Neither this nor `kept` assigns to a key: one may be `__proto__`.
  return Object.fromEntries(after);
}

/** A value, made of the parts of the one before that are the same. */
function kept(before, after) {
  if (before === after) return before;
  if (Array.isArray(after)) {
    const old = Array.isArray(before) ? before : [];
    const items = after.map((item, at) => kept(old[at], item));
    const isSame = old === before && old.length === items.length && items.every((item, at) => item === old[at]);
    return isSame ? before : items;
  }
  if (!isObject(after)) return after;
  const old = new Map(isObject(before) ? Object.entries(before) : []);
  const entries = Object.entries(after).map(([key, value]) => [key, kept(old.get(key), value)]);
  const isSame = isObject(before) && old.size === entries.length && entries.every(([key, value]) => value === old.get(key));
  return isSame ? before : Object.fromEntries(entries);
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
