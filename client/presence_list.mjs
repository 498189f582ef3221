// The presences of a topic, as a list for React.
//
// phoenix.js's `Presence` copies the whole list for each change. This one shares the unchanged presences, so that a component
// for one of them doesn't render again when another one changes.

/** The most diffs that wait for the first `presence_state` of a join. The oldest are dropped. */
const PENDING_MAX = 1_000;

export const NO_PRESENCES = Object.freeze([]);

export class PresenceList {
  /** The presences by their keys, in the order in which they came. */
  #presences = new Map();
  #list = NO_PRESENCES;
  /** The join that the list belongs to. Until its `presence_state` comes, the list is that of the join before. */
  #joinRef = null;
  #pending = [];
  #onChange;

  constructor(channel, onChange) {
    this.#onChange = onChange;
    channel.on("presence_state", (state, _ref, joinRef) => this.#take(state, joinRef));
    channel.on("presence_diff", (diff, _ref, joinRef) => this.#follow(diff, joinRef));
  }

  /** The presences: `{ key, metas }` each. The array and unchanged presences keep their identity. */
  get list() {
    return this.#list;
  }

  #take(state, joinRef) {
    this.#joinRef = joinRef;
    const presences = new Map();
    for (const [key, { metas }] of Object.entries(state)) {
      const before = this.#presences.get(key);
      presences.set(key, before && hasRefs(before, metas) ? before : { key, metas });
    }
    for (const diff of this.#pending.splice(0)) apply(presences, diff);
    this.#set(presences);
  }

  #follow(diff, joinRef) {
    if (joinRef === this.#joinRef) {
      const presences = new Map(this.#presences);
      apply(presences, diff);
      this.#set(presences);
    } else if (this.#pending.push(diff) > PENDING_MAX) {
      this.#pending.shift();
    }
  }

  #set(presences) {
    this.#presences = presences;
    const list = [...presences.values()];
    if (list.length === this.#list.length && list.every((presence, at) => presence === this.#list[at])) return;
    this.#list = list;
    this.#onChange();
  }
}

/** Applies a diff: metas that have joined come after those that were there. A key without metas ends. */
function apply(presences, { joins, leaves }) {
  for (const [key, { metas }] of Object.entries(joins)) {
    const before = presences.get(key);
    if (before && hasRefs(before, metas)) continue;
    presences.set(key, { key, metas: [...without(before?.metas ?? [], metas), ...metas] });
  }
  for (const [key, { metas }] of Object.entries(leaves)) {
    const before = presences.get(key);
    if (!before) continue;
    const rest = without(before.metas, metas);
    if (rest.length === 0) presences.delete(key);
    else if (rest.length < before.metas.length) presences.set(key, { key, metas: rest });
  }
}

/** Metas are equal if their refs are. */
function without(metas, others) {
  const refs = new Set(others.map((meta) => meta.phx_ref));
  return metas.filter((meta) => !refs.has(meta.phx_ref));
}

function hasRefs(presence, metas) {
  return presence.metas.length === metas.length && presence.metas.every((meta, at) => meta.phx_ref === metas[at].phx_ref);
}
