/** A JSON merge patch (RFC 7396) of the fields that have changed. */
export type Patch = Record<string, any>;

/** The part of a phoenix.js channel that `RoomState` uses. */
export interface EventSource {
  on(event: string, handler: (payload: any) => void): number;
  off(event: string, ref?: number): void;
}

export interface RoomStateOptions<State extends object> {
  /** Is called for each new state, with the patch that led to it, or with null if the server sent the whole state. */
  onChange?: (state: Readonly<State>, patch: Patch | null) => void;
  /**
   * Is called at the same time, without the state. Use it with `get` and `keys` for a state with thousands of fields: as long as
   * nobody reads `state`, a change doesn't copy it.
   */
  onPatch?: (patch: Patch | null) => void;
}

/**
 * The current state of a topic.
 *
 * A state object never changes. Each change makes a new state, which shares all unchanged objects and arrays with the old one. So
 * a view can use `===` to find the parts that it has to draw again. Don't change these objects yourself.
 */
export class RoomState<State extends object = Record<string, any>> {
  /** Follows a channel's state. Create it before the channel joins: the first state comes directly after the join's reply. */
  constructor(channel: EventSource, options?: RoomStateOptions<State>);
  /** The state, without fields that are null, which count as absent. Null before the first state arrives. */
  get state(): Readonly<State> | null;
  /** The number of the last change in the state. Each number is one more than the number before, until the topic's room ends. */
  get n(): number;
  /** The current value of a field of the state, or undefined if there is no such field. */
  get<Key extends keyof State & string>(key: Key): State[Key] | undefined;
  /** The names of the state's fields. */
  keys(): string[];
  /** Stops following the channel. The state stays as it is. */
  detach(): void;
}
