// Strokes as the plugin stores them (guest-examples/board/src/stroke.rs describes the encoding), and how they look.

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const VALUES = new Uint8Array(128);
for (let value = 0; value < 64; value += 1) VALUES[DIGITS.charCodeAt(value)] = value;

/** The width and height of a board, in units. At 100 %, a pixel has two units. */
export const SIZE = 1 << 14;
export const UNITS = 2;

/** The widths of the pens, in units. */
export const WIDTHS = [4, 9, 20, 48];

/** The colors of the pens. A drawing keeps its meaning in a dark page: ink is dark on light paper, and light on dark paper. */
export const COLORS = {
  light: ["#2a2636", "#8b8597", "#d5433b", "#e87f2a", "#dfa916", "#2f9a60", "#2d72d2", "#8a54c7"],
  dark: ["#f3eef6", "#938ca2", "#ff7d72", "#ffa254", "#ffd866", "#62d394", "#74b3ff", "#c398f8"],
};

/** The points of a line that is being decoded. One array for all of them, so that the points of a stroke are copied once. */
const scratch = [];

/** The points of a line: x and y of each, in units. The line continues at the last point of `before`, if there is one. */
export function decode(line, before) {
  let x = before ? before[before.length - 2] : 0;
  let y = before ? before[before.length - 1] : 0;
  let count = 0;
  for (let at = 0; at < line.length; ) {
    let number = 0;
    for (let place = 0; ; place += 5) {
      const bits = VALUES[line.charCodeAt(at)];
      at += 1;
      number |= (bits & 31) << place;
      if (bits < 32) break;
    }
    const distance = number & 1 ? -(number >> 1) : number >> 1;
    scratch[count] = count % 2 === 0 ? (x += distance) : (y += distance);
    count += 1;
  }
  return scratch.slice(0, count);
}

/** Encodes points, from `from` on. The first one is relative to the point before it, or to 0. */
export function encode(points, from = 0) {
  let line = "";
  for (let at = from; at < points.length; at += 1) {
    const distance = points[at] - (at > 1 ? points[at - 2] : 0);
    let number = Math.abs(distance) * 2 + (distance < 0 ? 1 : 0);
    for (; number > 31; number >>= 5) line += DIGITS[(number & 31) | 32];
    line += DIGITS[number];
  }
  return line;
}

/**
 * Strokes the points from the index `from` on (a multiple of 2). The curve goes through the middle of each two points, so that
 * it has no corners. A point that is nearer to the last one than `least` is left out: in a small view it wouldn't be seen.
 */
export function trace(context, points, from = 0, least = 0) {
  const last = points.length - 2;
  let x = points[Math.max(from - 2, 0)];
  let y = points[Math.max(from - 1, 1)];
  context.beginPath();
  if (from < 2) context.moveTo(x, y);
  else context.moveTo((x + points[from]) / 2, (y + points[from + 1]) / 2);
  if (from < 2) from = 2;
  else [x, y] = [points[from], points[from + 1]];
  for (let at = from; at < last; at += 2) {
    const [right, down] = [points[at], points[at + 1]];
    if (Math.abs(right - x) + Math.abs(down - y) < least) continue;
    [x, y] = [right, down];
    context.quadraticCurveTo(x, y, (x + points[at + 2]) / 2, (y + points[at + 3]) / 2);
  }
  // A line without a length would be invisible.
  if (last === 0) context.lineTo(x + 0.1, y);
  else context.lineTo(points[last], points[last + 1]);
  context.stroke();
}
