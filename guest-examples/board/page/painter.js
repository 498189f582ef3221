// The lower canvas, in a worker: all strokes. So a drawing that takes long, on a slow phone, holds up neither the page nor the pen.
//
// A change draws only its new points. An undo draws the squares again that the stroke touched. If the view changes, a second
// canvas, which is hidden, gets the new drawing; then the two change places. This is done in slices, because another view may come.

import { COLORS, WIDTHS, decode, trace } from "./line.js";
import { prepare } from "./prepare.js";
import { fitted, withEdges } from "./view.js";

/** The duration of a slice of work, in milliseconds. */
const SLICE = 32;
/** How many strokes are drawn between two looks at the clock. */
const UNWATCHED = 16;
/** The size of the squares that an undo draws again, in units. */
const SQUARE = 256;
/** The space around a stroke that belongs to its box: half a pixel of the smallest view. */
const RIM = 16;
/** An undo that touches more strokes than this draws everything again. */
const AT_ONCE = 400;
/** Points that are nearer to each other are drawn as one, in pixels. */
const LEAST = 1.2;

class Painter {
  /** The strokes by their keys. */
  #strokes = new Map();
  /** The removed strokes that are still to be seen. */
  #removed = [];
  /** The visible canvas and the hidden one. */
  #layers;
  #view;
  #theme = "light";
  /** The drawing of everything to the hidden canvas. */
  #again;
  /** Whether the canvases are changing places. Another drawing of everything then waits, because both are to be seen. */
  #isChanging = false;
  #isWaiting = false;
  /** The number of messages with changes. */
  #taken = 0;
  #wake = new MessageChannel();

  constructor(canvases) {
    this.#layers = canvases.map((canvas, index) => ({ index, canvas, context: canvas.getContext("2d"), view: undefined }));
    this.#wake.port1.onmessage = () => this.#drawSome();
  }

  /**
   * Takes changed strokes: a line of text with the key, color, width and new points of each. A removed stroke has only its key.
   * With the first ones comes the size of the view, which is then fitted to them, as the page fits its own.
   */
  change(changes, size) {
    this.#taken += 1;
    for (const change of changes === "" ? [] : changes.split("\n")) {
      const [key, color, width, line] = change.split(" ");
      if (line === undefined) this.#remove(key);
      else this.#extend(key, color, width, line);
    }
    if (this.#view) this.#clean();
    if (!this.#again) this.#tell();
    if (size && !this.#view) this.show(withEdges({ ...size, ...fitted(size, this.#box()) }));
  }

  paint(theme) {
    this.#theme = theme;
    this.#drawAgain();
  }

  show(view) {
    this.#view = view;
    this.#drawAgain();
  }

  /** Tells the page what is drawn. Before there is a view, this is what is read. */
  #tell() {
    postMessage({ done: this.#taken, count: this.#strokes.size, box: this.#box(), isDrawn: this.#view !== undefined });
  }

  /** The part of the board that all strokes take. */
  #box() {
    let box;
    for (const stroke of this.#strokes.values()) box = box ? united(box, stroke.box) : stroke.box;
    return box;
  }

  #extend(key, color, width, line) {
    let stroke = this.#strokes.get(key);
    const from = stroke?.points.length ?? 0;
    const points = decode(line, stroke?.points);
    if (stroke) stroke.points.push(...points);
    else this.#strokes.set(key, (stroke = { color, width: WIDTHS[width], points, box: undefined, drawn: undefined }));
    const box = boxOf(stroke, from);
    stroke.box = stroke.box ? united(stroke.box, box) : box;
    if (!this.#view) return;
    const [front, back] = this.#layers;
    // The end of the stroke was drawn as a straight line. If the stroke turns there, the end is drawn again.
    if (from > 2 && turns(stroke.points, from)) {
      this.#removed.push({ points: stroke.points.slice(from - 4, from), width: stroke.width });
    }
    if (front.view) this.#draw(front, stroke, Math.max(from - 2, 0));
    // The drawing of everything comes to a new stroke later, but not to new points of a stroke that it has drawn.
    if (this.#again && stroke.drawn === this.#again) this.#draw(back, stroke, Math.max(from - 2, 0));
  }

  #remove(key) {
    const stroke = this.#strokes.get(key);
    if (!stroke) return;
    this.#strokes.delete(key);
    this.#removed.push(stroke);
  }

  #draw({ context, view }, { box, color, width, points }, from = 0) {
    if (box[2] < view.x || box[3] < view.y || box[0] > view.right || box[1] > view.bottom) return;
    context.strokeStyle = COLORS[this.#theme][color];
    context.lineWidth = width;
    trace(context, points, from, LEAST / view.scale);
  }

  /** Draws the squares again from which strokes were removed. A drawing of everything comes first. */
  #clean() {
    if (this.#removed.length === 0 || this.#again) return;
    const squares = this.#removed.length > AT_ONCE ? [] : squaresOf(this.#removed);
    // A look at each box takes less time than an index of the squares would.
    const strokes = [...this.#strokes.values()].filter(({ box }) => squares.some((square) => touch(box, square)));
    const isLong = squares.length === 0 || strokes.length > AT_ONCE;
    this.#removed = [];
    if (isLong) return this.#drawAgain();
    const [front] = this.#layers;
    const { context, view } = front;
    context.save();
    context.resetTransform();
    context.beginPath();
    // Whole pixels, because the edge of a clip within a pixel would be visible.
    const pixel = (place, from) => Math.round((place - from) * view.scale * view.ratio);
    for (const square of squares) {
      const [left, top] = [pixel(square[0], view.x), pixel(square[1], view.y)];
      const size = [pixel(square[2], view.x) - left, pixel(square[3], view.y) - top];
      context.clearRect(left, top, ...size);
      context.rect(left, top, ...size);
    }
    context.clip();
    const scale = view.scale * view.ratio;
    context.setTransform(scale, 0, 0, scale, -view.x * scale, -view.y * scale);
    for (const stroke of strokes) this.#draw(front, stroke);
    context.restore();
  }

  /** Begins to draw everything to the hidden canvas. A map's iterator also comes to strokes that are added later. */
  #drawAgain() {
    this.#isWaiting = this.#isChanging;
    if (!this.#view || this.#isChanging) return;
    const [, back] = this.#layers;
    back.view = this.#view;
    prepare(back);
    this.#again = { strokes: this.#strokes.values() };
    this.#wake.port2.postMessage(null);
  }

  #drawSome() {
    const again = this.#again;
    if (!again) return;
    const [, back] = this.#layers;
    const end = performance.now() + SLICE;
    for (let count = 1; ; count += 1) {
      if (count % UNWATCHED === 0 && performance.now() > end) return this.#wake.port2.postMessage(null);
      const { value: stroke, done } = again.strokes.next();
      if (done) break;
      stroke.drawn = again;
      this.#draw(back, stroke);
    }
    this.#again = undefined;
    this.#layers.reverse();
    this.#isChanging = true;
    this.#clean();
    // The browser shows a canvas of a worker with the worker's next frame. Only then the page may show the canvas.
    requestAnimationFrame(() => requestAnimationFrame(() => this.#swap(back)));
  }

  /** Lets the page show a canvas. */
  #swap({ index, view }) {
    postMessage({ shown: index, view });
    this.#isChanging = false;
    if (this.#isWaiting) this.#drawAgain();
    else this.#tell();
  }
}

/** The part of the board that a stroke's points from the index `from` on take: left, top, right and bottom. */
function boxOf({ points, width }, from) {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (let at = Math.max(from - 4, 0); at < points.length; at += 2) {
    const [x, y] = [points[at], points[at + 1]];
    if (x < left) left = x;
    if (x > right) right = x;
    if (y < top) top = y;
    if (y > bottom) bottom = y;
  }
  const rim = width / 2 + RIM;
  return [left - rim, top - rim, right + rim, bottom + rim];
}

/** Whether a stroke turns by more than three degrees before its point at the index `at`. */
function turns(points, at) {
  const [x, y] = [points[at - 2] - points[at - 4], points[at - 1] - points[at - 3]];
  const [right, down] = [points[at] - points[at - 2], points[at + 1] - points[at - 1]];
  return Math.abs(x * down - y * right) > 0.05 * (x * right + y * down);
}

const united = (one, other) => [
  Math.min(one[0], other[0]),
  Math.min(one[1], other[1]),
  Math.max(one[2], other[2]),
  Math.max(one[3], other[3]),
];

const touch = (one, other) => one[2] > other[0] && one[3] > other[1] && one[0] < other[2] && one[1] < other[3];

/** The squares of a grid that the lines of strokes touch. */
function squaresOf(strokes) {
  const squares = new Map();
  for (const { points, width } of strokes) {
    for (let from = 0; from < points.length; from += 2) {
      // Two points of the line, with the space around them.
      const part = { points: points.slice(from, from + 4), width };
      const [left, top, right, bottom] = boxOf(part, 0).map((place) => Math.floor(place / SQUARE));
      for (let row = top; row <= bottom; row += 1) {
        for (let column = left; column <= right; column += 1) {
          const [x, y] = [column * SQUARE, row * SQUARE];
          squares.set(`${column}/${row}`, [x, y, x + SQUARE, y + SQUARE]);
        }
      }
    }
  }
  return [...squares.values()];
}

let painter;
addEventListener("message", ({ data: { canvases, changes, size, theme, view } }) => {
  if (canvases) painter = new Painter(canvases);
  if (theme) painter.paint(theme);
  if (view) painter.show(view);
  if (changes !== undefined) painter.change(changes, size);
});
