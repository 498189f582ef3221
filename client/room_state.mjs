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
  #onPatch;
  #state = null;
  /** Whether somebody has the state object, which must then not change. */
  #isShared = false;
  #n = 0;

  /**
   * Follows a channel's state. Create it before the channel joins: the first state comes directly after the join's reply.
   *
   * @param {{ on: Function, off: Function }} channel A channel of phoenix.js.
   * @param {object} [options]
   * @param {(state: Record<string, any>, patch: Record<string, any> | null) => void} [options.onChange] Is called for
   *   each new state, with the patch that led to it, or with null if the server sent the whole state.
   * @param {(patch: Record<string, any> | null) => void} [options.onPatch] Is called at the same time, without the state. Use it
   *   with `get` and `keys` for a state with thousands of fields: as long as nobody reads `state`, a change doesn't copy it.
   */
  constructor(channel, { onChange, onPatch } = {}) {
    this.#channel = channel;
    this.#onChange = onChange;
    this.#onPatch = onPatch;
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
    this.#isShared = true;
    return this.#state;
  }

  /**
   * The current value of a field of the state.
   *
   * @param {string} key
   * @returns {any} undefined if there is no such field
   */
  get(key) {
    return this.#state !== null && Object.hasOwn(this.#state, key) ? this.#state[key] : undefined;
  }

  /**
   * The names of the state's fields.
   *
   * @returns {string[]}
   */
  keys() {
    return Object.keys(this.#state ?? {});
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
    if (this.#state === null || n !== this.#n + 1) return;
    this.#n = n;
    const before = this.#state;
    const { after, isChanged } = patched(before, patch, !this.#isShared);
    if (after !== before) this.#isShared = false;
    if (isChanged) this.#set(after, patch);
  }

  /** Takes a whole state with any number. A lower number means that the topic's room has ended and begun again. */
  #take(n, state) {
    this.#n = n;
    const after = kept(this.#state, stripped(state));
    if (after === this.#state) return;
    this.#isShared = false;
    this.#set(after, null);
  }

  #set(state, patch) {
    this.#state = state;
    if (this.#onChange) this.#onChange(this.state, patch);
    this.#onPatch?.(patch);
  }
}

/**
 * Applies a merge patch to an object. Only the fields that the patch names are looked at, and an object with a changed field is
 * copied once, unless it may change. So a change of a large object costs at most little more than that copy.
 */
function patched(before, patch, mayChange = false) {
  let after = before;
  let isChanged = false;
  for (const [key, change] of Object.entries(patch)) {
    const old = Object.hasOwn(before, key) ? before[key] : undefined;
    const value = change === null ? undefined : replaced(old, change);
    if (value === old) continue;
    // A spread copies a field `__proto__` like any other.
    if (after === before && !mayChange) after = { ...before };
    isChanged = true;
    if (value === undefined) delete after[key];
    else if (key === "__proto__") Object.defineProperty(after, key, { value, writable: true, enumerable: true, configurable: true });
    else after[key] = value;
  }
  return { after, isChanged };
}

/** The value that a patch makes of a field. */
function replaced(old, change) {
  if (!isObject(change)) return kept(old, change);
  return isObject(old) ? patched(old, change).after : stripped(change);
}

/** A value without the fields that are null, which count as absent. A value without such fields stays as it is. */
function stripped(value) {
  if (!isObject(value) || !hasNull(value)) return value;
  const entries = Object.entries(value).filter(([, inner]) => inner !== null);
  // Unlike an assignment, `fromEntries` also sets a field `__proto__`.
  return Object.fromEntries(entries.map(([key, inner]) => [key, stripped(inner)]));
}

function hasNull(value) {
  for (const key in value) {
    const inner = value[key];
    if (inner === null || (isObject(inner) && hasNull(inner))) return true;
  }
  return false;
}

/** Gives a value that reuses all equal parts of the value before. */
function kept(before, after) {
  if (before === after) return before;
  if (before === null || before === undefined) return after;
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
