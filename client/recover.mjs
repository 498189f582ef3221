// Recovery of missed messages, for a client with phoenix.js and a topic whose route keeps a history.
//
// The server numbers the topic's broadcasts: a text message has its number as ref (`h17`), and a message `history` with `next`
// has the number of the binary one that follows. When the channel joins again, it sends the number of its last message, and the
// server sends what came after it, before anything new.

const NUMBER = /^h(\d+)$/;

/**
 * Keeps the position of a channel in its topic's history, and gets the missed messages when the channel joins again. Each
 * message reaches the channel's handlers once, in order. Call it before the channel joins.
 *
 * @param {object} channel A channel of phoenix.js.
 * @param {object} [options]
 * @param {() => void} [options.onMissed] Is called if messages were missed that the server no longer has. Everything that
 *   the page knows from messages may be out of date then.
 * @param {() => void} [options.onRecovered] Is called after a join, when all missed messages have arrived.
 */
export function recover(channel, { onMissed, onRecovered } = {}) {
  // The server leaves this client out of the broadcasts that it made itself, also in an earlier join.
  const client = Math.random().toString(36).slice(2) + Math.random().toString(36).slice(2);
  /** The history, and the number of the last message in it; null before the first join. */
  let position = null;
  /** The number of the binary message that comes next. */
  let next = null;
  /** Whether a join has succeeded. If its `history` was lost with the connection, the position isn't known. */
  let hasJoined = false;
  /** Whether a further join has succeeded whose `history` hasn't come yet. */
  let isRejoining = false;

  const { joinPush } = channel;
  const params = joinPush.payload;
  joinPush.payload = () => {
    const known = position ?? (hasJoined ? { epoch: "", n: 0 } : {});
    return { ...params.call(joinPush), since: { client, ...known } };
  };

  const miss = () => {
    isRejoining = false;
    onMissed?.();
  };

  /** The message's number; null if it has none. */
  const numberOf = (payload, ref) => {
    const [, text] = (typeof ref === "string" && NUMBER.exec(ref)) || [];
    if (text !== undefined) return Number(text);
    if (!(payload instanceof ArrayBuffer) || next === null) return null;
    const number = next;
    next = null;
    return number;
  };

  const follow = (payload) => {
    if ("next" in payload) {
      next = payload.next;
      return;
    }
    const { epoch, n, recovered } = payload;
    position = { epoch, n };
    next = null;
    isRejoining = false;
    if (recovered === true) onRecovered?.();
    else if (recovered === false) miss();
  };

  const trigger = channel.trigger;
  // phoenix.js calls this for each message, reply and end of the channel.
  channel.trigger = (event, payload, ref, joinRef) => {
    const pass = () => trigger.call(channel, event, payload, ref, joinRef);
    if (event === "phx_reply") {
      if (ref === joinPush.ref && payload.status === "ok") {
        isRejoining = hasJoined;
        hasJoined = true;
      }
      return pass();
    }
    if (event === "history" && isHistory(payload)) {
      follow(payload);
      return pass();
    }
    const number = numberOf(payload, ref);
    if (number !== null && position !== null) {
      // After a join that came too late for the server, the same message may come in two ways.
      if (number <= position.n) return undefined;
      position = { ...position, n: number };
    } else if (isRejoining && isMessage(event)) {
      // The server's first message after the missed ones is `history`, unless the topic no longer has one.
      position = null;
      miss();
    }
    return pass();
  };
}

function isHistory(payload) {
  return typeof payload === "object" && payload !== null && ("next" in payload || "epoch" in payload);
}

/** Whether the event is a message of the server, and not one of phoenix.js or of the protocol. */
function isMessage(event) {
  return typeof event === "string" && !event.startsWith("chan_reply_") && !event.startsWith("phx_");
}
