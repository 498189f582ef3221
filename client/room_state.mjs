// The published state of a topic, for a client with phoenix.js.
//
// The server sends the whole state once (`room_state`), and then the changes (`room_diff`): JSON merge patches (RFC 7396) with
// consecutive numbers. `RoomState` applies them.

/**
 * The current state of a topic.
 *
 * A state object never changes. Each change makes a new state, which shares all unchanged objects and arrays with the old one. So
 * a view can use `===` to find the parts that it has to draw again. Don't change these objects yourself.
 */
export class RoomState {
  #channel;
  #bindings;
  #onChange;
  #state = null;
  #n = 0;

  /**
   * Follows a channel's state. Create it before the channel joins: the first state comes directly after the join's reply.
   *
   * @param {{ on: Function, off: Function }} channel A channel of phoenix.js.
   * @param {object} [options]
   * @param {(state: Record<string, any>, patch: Record<string, any> | null) => void} [options.onChange] Is called for
   *   each new state, with the patch that led to it, or with null if the server sent the whole state.
   */
  constructor(channel, { onChange = () => {} } = {}) {
    this.#channel = channel;
    this.#onChange = onChange;
    const bind = (event, take) => [event, channel.on(event, take)];
    this.#bindings = [
      bind("room_state", ({ n, state }) => this.#take(n, state)),
      bind("room_diff", ({ n, patch }) => this.#follow(n, patch)),
    ];
  }

  /**
   * The state, without fields that are null, which count as absent. Null before the first state arrives.
   *
   * @returns {Record<string, any> | null}
   */
  get state() {
    return this.#state;
  }

  /**
   * The number of the last change in the state. Each number is one more than the number before, until the topic's room ends.
   *
   * @returns {number}
   */
  get n() {
    return this.#n;
  }

  /** Stops following the channel. The state stays as it is. */
  detach() {
    for (const [event, ref] of this.#bindings) this.#channel.off(event, ref);
    this.#bindings = [];
  }

  /** Applies a change with the next number only. Older changes are already in the state. After a gap, the whole state comes. */
  #follow(n, patch) {
    if (this.#state !== null && n === this.#n + 1) this.#set(n, patched(this.#state, patch), patch);
  }

  /** Takes a whole state with any number. A lower number means that the topic's room has ended and begun again. */
  #take(n, state) {
    this.#set(n, kept(this.#state, stripped(state)), null);
  }

  #set(n, state, patch) {
    const before = this.#state;
    this.#n = n;
    this.#state = state;
    if (state !== before) this.#onChange(state, patch);
  }
}

/**
 * Applies a merge patch to an object. Only the fields that the patch names are looked at, and an object with a changed field is
 * copied once. So a change of a large object costs little more than that copy.
 */
function patched(before, patch) {
  let after = before;
  for (const [key, change] of Object.entries(patch)) {
    const old = Object.hasOwn(before, key) ? before[key] : undefined;
    const value = change === null ? undefined : replaced(old, change);
    if (value === old) continue;
    // A spread copies a field `__proto__` like any other.
    if (after === before) after = { ...before };
    if (value === undefined) delete after[key];
    else if (key === "__proto__") Object.defineProperty(after, key, { value, writable: true, enumerable: true, configurable: true });
    else after[key] = value;
  }
  return after;
}

/** The value that a patch makes of a field. */
function replaced(old, change) {
  if (!isObject(change)) return kept(old, change);
  return isObject(old) ? patched(old, change) : stripped(change);
}

/** Copies a value without the fields that are null, which count as absent. */
function stripped(value) {
  if (!isObject(value)) return value;
  const entries = Object.entries(value).filter(([, inner]) => inner !== null);
  // Unlike an assignment, `fromEntries` also sets a field `__proto__`.
  return Object.fromEntries(entries.map(([key, inner]) => [key, stripped(inner)]));
}

/** Gives a value that reuses all equal parts of the value before. */
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
