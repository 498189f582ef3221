import type { ReactNode } from "react";
import type { Socket, SocketConnectOption } from "phoenix";

/**
 * The payloads of a topic, all optional. What isn't named is `any`.
 *
 * ```ts
 * interface Chat {
 *   params: { user: string };
 *   response: { messages: Message[] };
 *   events: { new_msg: Message; typing: { user: string; typing: boolean } };
 *   pushes: { new_msg: { payload: { body: string }; reply: { id: string } } };
 *   presence: { online_at: number };
 *   state: { players: Record<string, Player> };
 * }
 * ```
 */
export interface ChannelTypes {
  /** The parameters of the join. */
  params?: object;
  /** The reply to a successful join. */
  response?: unknown;
  /** The reply to a refused join. */
  refusal?: unknown;
  /** The payloads of the events from the server, by name. */
  events?: object;
  /** `{ payload, reply }` of the events to the server, by name. */
  pushes?: object;
  /** The published state. */
  state?: object;
  /** A meta of a presence. */
  presence?: object;
}

type Get<T, Name extends string, Default> = T extends { [N in Name]: infer Found } ? Found : Default;
type Events<T> = Get<T, "events", Record<string, any>>;
type Pushes<T> = Get<T, "pushes", Record<string, any>>;
type State<T> = Get<T, "state", Record<string, any>>;
type Name<Of> = keyof Of & string;
type PushArguments<Push> = Push extends { payload: infer Payload }
  ? [payload: Payload, timeout?: number]
  : [payload?: object, timeout?: number];

/**
 * - `idle`: the topic is null
 * - `joining`: the first join has no reply yet, or there is no connection yet
 * - `joined`
 * - `rejoining`: the connection was lost, or the plugin had a fault. phoenix.js joins again by itself
 * - `refused`: the server has refused the join; `error` says why. phoenix.js tries again, each time later
 * - `closed`: the server has closed the channel
 */
export type ChannelStatus = "idle" | "joining" | "joined" | "rejoining" | "refused" | "closed";

/** A channel, as `useChannel` returns it. It is a new object when the status changes. Its functions stay the same. */
export interface Channel<T extends ChannelTypes = {}> {
  readonly topic: string | null;
  readonly status: ChannelStatus;
  /** The reply to the last successful join; null before. */
  readonly response: Get<T, "response", any> | null;
  /** The reply to a refused join, for example `{ reason: "…" }`; null otherwise. */
  readonly error: Get<T, "refusal", any> | null;
  /**
   * Pushes an event, and returns the response of its reply. Throws a `PushError` otherwise. Before the channel is joined, and while
   * it joins again, the push waits until its timeout, 10 seconds by default.
   */
  push<Event extends Name<Pushes<T>>>(
    event: Event,
    ...rest: PushArguments<Pushes<T>[Event]>
  ): Promise<Get<Pushes<T>[Event], "reply", any>>;
  /** Calls a handler for each event, until the returned function is called. In a component, `useEvent` does that. */
  on<Event extends Name<Events<T>>>(event: Event, handler: (payload: Events<T>[Event]) => void): () => void;
  /** Joins again at once, for example after the server has closed the channel. */
  rejoin(): void;
}

/** A push without a successful reply. */
export class PushError<Response = any> extends Error {
  readonly topic: string;
  readonly event: string;
  /**
   * The status of the reply, or `timeout`, or `closed` if the channel or the connection ended before the reply. Then the server may
   * have handled the push or not.
   */
  readonly status: "error" | "timeout" | "closed" | (string & {});
  /** The response of the reply; null if there was none. */
  readonly response: Response | null;
}

/** One key of a topic's presences. Each member that is tracked under the key has a meta. */
export interface Presence<Meta = Record<string, any>> {
  readonly key: string;
  readonly metas: readonly (Meta & { phx_ref: string; phx_ref_prev?: string })[];
}

export type SocketProviderProps = { children?: ReactNode } & (
  | {
      /** Your socket, which you connect and disconnect; null while there is none. */
      socket: Socket | null;
      url?: undefined;
      options?: undefined;
    }
  | {
      /** The address of a socket that the provider makes, connects, and disconnects when it unmounts. */
      url: string;
      /** Its options. When they have other values, the provider makes another socket. Functions count as equal. */
      options?: Partial<SocketConnectOption>;
      socket?: undefined;
    }
);

/** Gives the components below it a socket. */
export function SocketProvider(props: SocketProviderProps): ReactNode;

/** The provider's socket. Null on the server, and in the first render below a provider with a `url`. */
export function useSocket(): Socket | null;

/** Whether the socket is connected. */
export function useConnected(): boolean;

/**
 * Joins a topic while the component is mounted. All components with the same topic share one channel.
 *
 * @param topic null joins nothing
 * @param params When they have other values, the channel is left and joined again. A function is called for each join. Without
 *   them, the component takes the channel as it is.
 * @param options With `onMissed`, the channel gets the messages that it missed during a lost connection, before any new one. The
 *   topic's route must keep a history. `onMissed` is called if the server no longer has all of them.
 */
export function useChannel<T extends ChannelTypes = {}>(
  topic: string | null,
  params?: Get<T, "params", Record<string, any>> | (() => Get<T, "params", Record<string, any>>),
  options?: { onMissed?: () => void },
): Channel<T>;

/** Calls the last rendered `handler` for each event of this name. */
export function useEvent<T extends ChannelTypes, Event extends Name<Events<T>>>(
  channel: Channel<T>,
  event: Event,
  handler: (payload: Events<T>[Event]) => void,
): void;

/** The presences of the topic, in the order in which they came. Presences that don't change keep their identity. */
export function usePresence<T extends ChannelTypes>(
  channel: Channel<T>,
): readonly Presence<Get<T, "presence", Record<string, any>>>[];

/** The published state; null until the first state arrives. */
export function useRoom<T extends ChannelTypes>(channel: Channel<T>): Readonly<State<T>> | null;

/**
 * The part of the published state that `selector` returns; null until the first state arrives. The component renders again only
 * if the part is another one by `isEqual`, `Object.is` by default. Unchanged parts of a state keep their identity.
 */
export function useRoom<T extends ChannelTypes, Part>(
  channel: Channel<T>,
  selector: (state: Readonly<State<T>>) => Part,
  isEqual?: (before: Part, after: Part) => boolean,
): Part | null;

/** One field of the published state. A change doesn't copy the state, so it suits a state with thousands of fields. */
export function useRoomField<T extends ChannelTypes, Field extends Name<State<T>>>(
  channel: Channel<T>,
  field: Field,
): State<T>[Field] | undefined;
