/** The part of a phoenix.js channel that `recover` uses. */
export interface RecoverableChannel {
  join(): unknown;
  on(event: string, handler: (payload: any) => void): number;
}

export interface RecoverOptions {
  /**
   * Is called if messages were missed that the server no longer has. Everything that the page knows from messages may be out of
   * date then.
   */
  onMissed?: () => void;
  /** Is called after a join, when all missed messages have arrived. */
  onRecovered?: () => void;
}

/**
 * Keeps the position of a channel in its topic's history, and gets the missed messages when the channel joins again. Each
 * message reaches the channel's handlers once, in order. Call it before the channel joins. The topic's route must keep a history.
 */
export function recover(channel: RecoverableChannel, options?: RecoverOptions): void;
