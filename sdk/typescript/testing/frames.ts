// Frames in the binary format of version 2.

/** A frame: `[join_ref, ref, topic, event, payload]`. */
export type Frame = [string | null, string | null, string, string, any];

/** Reads a binary frame. Its first byte is the kind, and then come the lengths of its texts. */
export function frameOf(bytes: Buffer): Frame {
  const [kind, ...lengths] = bytes.subarray(0, 1 + [3, 4, 2][bytes[0]]);
  let at = 1 + lengths.length;
  const texts = lengths.map((length) => bytes.subarray(at, (at += length)).toString());
  const payload = new Uint8Array(bytes.subarray(at));
  if (kind === 0) return [texts[0], null, texts[1], texts[2], payload];
  if (kind === 1) return [texts[0], texts[1], texts[2], "phx_reply", { status: texts[3], response: payload }];
  return [null, null, texts[0], texts[1], payload];
}
