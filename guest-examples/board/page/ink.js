// Our own strokes, from the pen to the server.
//
// A stroke is sent while it is drawn, in pieces. The server knows a piece by the stroke's name and the piece's number. So a piece
// whose answer got lost can be sent again: a piece that the server has already stays as it is.

import { encode } from "./line.js";

/** The interval of a stroke's pieces, in milliseconds. */
const PACE = 50;
/** A piece of fewer points waits for more. */
const FEW = 3;
/** The most intervals that a piece waits. */
const LATE = 3;
/** The first piece is sent after this time, because two fingers that move the view rarely touch the screen at once. */
const FIRST = 100;
/** The server's limits, with some reserve: then another stroke begins. */
const MOST_PIECES = 390;
const MOST_POINTS = 1_500;
/** The length of a name. */
const NAME = 12;

class Stroke {
  name = [...crypto.getRandomValues(new Uint8Array(NAME))].map((byte) => (byte % 36).toString(36)).join("");
  points = [];
  /** The encoded pieces, and how many numbers of `points` they have. */
  pieces = [];
  encoded = 0;
  /** How often the next piece has waited for more points. */
  waited = 0;
  /** The number of pieces that the server has, and the stroke's id. */
  answered = 0;
  id = undefined;
  isEnded = false;

  constructor(color, width) {
    this.color = color;
    this.width = width;
  }
}

export class Ink {
  /** The strokes that aren't on the paper yet. */
  strokes = new Set();
  #current;
  #push;
  #changed;
  #refused;
  #timer;

  /**
   * @param {(event: string, payload: object) => import("phoenix").Push | undefined} push sends a message, if the page is joined
   * @param {{changed: () => void, refused: (reason: string) => void}} watcher
   */
  constructor(push, { changed, refused }) {
    this.#push = push;
    this.#changed = changed;
    this.#refused = refused;
  }

  get isDrawing() {
    return this.#current !== undefined;
  }

  begin(color, width, point) {
    this.#current = new Stroke(color, width);
    this.#current.points.push(...point);
    this.strokes.add(this.#current);
    this.#timer = setTimeout(() => this.#flush(), FIRST);
    this.#changed();
  }

  /** Adds a point. A point between two others on a straight line is left out. */
  add([x, y], least) {
    if (!this.#current) return;
    const { points, encoded } = this.#current;
    const last = points.length - 2;
    if (Math.hypot(x - points[last], y - points[last + 1]) < least) return;
    if (last > encoded && isBetween(points, last, x, y, least / 4)) points.length = last;
    points.push(x, y);
    if (points.length >= MOST_POINTS * 2 || this.#current.pieces.length >= MOST_PIECES) this.#goOn();
    this.#changed();
  }

  end() {
    if (!this.#current) return;
    const stroke = this.#current;
    clearTimeout(this.#timer);
    this.#cut(stroke);
    stroke.isEnded = true;
    this.#current = undefined;
    this.#changed();
  }

  /** Drops the stroke, if nothing of it was sent. Otherwise ends it. */
  cancel() {
    if (!this.#current || this.#current.pieces.length > 0) return this.end();
    clearTimeout(this.#timer);
    this.strokes.delete(this.#current);
    this.#current = undefined;
    this.#changed();
  }

  /** The page has joined again: sends all pieces that weren't answered. */
  again() {
    for (const stroke of this.strokes) {
      for (let piece = stroke.answered; piece < stroke.pieces.length; piece += 1) this.#send(stroke, piece);
    }
  }

  /** Drops the strokes that the paper has. */
  settle(isOnPaper) {
    for (const stroke of this.strokes) {
      const isAnswered = stroke.isEnded && stroke.answered === stroke.pieces.length;
      if (isAnswered && isOnPaper(stroke.id, stroke.pieces.length)) this.strokes.delete(stroke);
    }
  }

  /** Drops all strokes. */
  clear() {
    this.end();
    this.strokes.clear();
    this.#changed();
  }

  #flush() {
    const stroke = this.#current;
    const points = (stroke.points.length - stroke.encoded) / 2;
    stroke.waited = points < FEW && stroke.waited < LATE - 1 ? stroke.waited + 1 : 0;
    if (stroke.waited === 0) this.#cut(stroke);
    this.#timer = setTimeout(() => this.#flush(), PACE);
  }

  /** Ends a stroke that is at the server's limit, and goes on with another one from the same place. */
  #goOn() {
    const { color, width, points } = this.#current;
    const point = points.slice(-2);
    this.end();
    this.begin(color, width, point);
  }

  /** Makes a piece of the points that aren't in one. */
  #cut(stroke) {
    if (stroke.points.length === stroke.encoded) return;
    stroke.pieces.push(encode(stroke.points, stroke.encoded));
    stroke.encoded = stroke.points.length;
    this.#send(stroke, stroke.pieces.length - 1);
  }

  #send(stroke, piece) {
    const { name, color, width, pieces } = stroke;
    const pushed = this.#push("draw", { stroke: name, piece, color, width, line: pieces[piece] });
    pushed
      ?.receive("ok", ({ id }) => {
        stroke.id = id;
        stroke.answered = Math.max(stroke.answered, piece + 1);
        this.#changed();
      })
      .receive("error", ({ reason }) => {
        if (!this.strokes.delete(stroke)) return;
        if (this.#current === stroke) {
          clearTimeout(this.#timer);
          this.#current = undefined;
        }
        this.#refused(reason);
        this.#changed();
      });
  }
}

/** Whether the point at `last` is nearly on the line from the point before it to a new point, and between them. */
function isBetween(points, last, x, y, most) {
  const [ax, ay] = [points[last - 2], points[last - 1]];
  const [bx, by] = [points[last] - ax, points[last + 1] - ay];
  const [cx, cy] = [x - ax, y - ay];
  const length = Math.hypot(cx, cy);
  return length < 120 && Math.abs(bx * cy - by * cx) <= most * length && bx * cx + by * cy > 0 && Math.hypot(bx, by) < length;
}
