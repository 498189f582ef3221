// The upper canvas: the cursors of the others, and our own strokes until the server has them.
//
// It is drawn in animation frames, and only while something changes.

import { COLORS, WIDTHS, trace } from "./line.js";
import { prepare } from "./prepare.js";
import { hue } from "./make.js";

/** A cursor that doesn't move is hidden after this time, in milliseconds. */
const IDLE = 20_000;
/** A cursor moves this part of the way to its place in each frame of 16 ms, because places come only twenty times a second. */
const PART = 0.28;
const FRAME = 16;

export class Over {
  #canvas;
  #context;
  #view;
  #cursors = new Map();
  #inks = new Set();
  #frame;
  #idle;
  #last = 0;
  #isBlank = true;
  #theme = "light";
  #isStill = matchMedia("(prefers-reduced-motion: reduce)");

  constructor(canvas, view) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.#view = view;
  }

  /** Our strokes that aren't on the paper yet: each has `color`, `width` and `points`. */
  show(inks) {
    this.#inks = inks;
    this.again();
  }

  /** Somebody's cursor has another place, or none. */
  point(id, name, x, y) {
    if (typeof x !== "number" || typeof y !== "number") this.#cursors.delete(id);
    else {
      const { shown = [x, y], label = tag(name) } = this.#cursors.get(id) ?? {};
      this.#cursors.set(id, { name, label, to: [x, y], shown, since: performance.now() });
    }
    this.again();
  }

  /** Hides the cursors of members that are gone. */
  keep(isHere) {
    for (const id of this.#cursors.keys()) if (!isHere(id)) this.#cursors.delete(id);
    this.again();
  }

  /** Sets the colors, `light` or `dark`. */
  paint(theme) {
    this.#theme = theme;
    this.again();
  }

  /** Draws in the next frame. */
  again() {
    this.#frame ??= requestAnimationFrame((now) => this.#paint(now));
  }

  #paint(now) {
    this.#frame = undefined;
    const passed = Math.min(now - this.#last, 100);
    this.#last = now;
    // A canvas that is drawn costs time, also if nothing is drawn on it.
    const isBlank = this.#inks.size === 0 && this.#cursors.size === 0;
    if (isBlank && this.#isBlank) return;
    this.#isBlank = isBlank;
    const context = this.#context;
    const view = this.#view.copy();
    prepare({ canvas: this.#canvas, context, view });
    for (const { color, width, points } of this.#inks) {
      context.strokeStyle = COLORS[this.#theme][color];
      context.lineWidth = WIDTHS[width];
      trace(context, points);
    }
    context.setTransform(view.ratio, 0, 0, view.ratio, 0, 0);
    let isMoving = false;
    for (const [id, cursor] of this.#cursors) {
      if (now - cursor.since > IDLE) this.#cursors.delete(id);
      else isMoving = this.#step(cursor, passed) || isMoving;
    }
    for (const cursor of this.#cursors.values()) this.#paintCursor(cursor);
    // Tests can't read a canvas, so they read the places here.
    this.#canvas.cursors = Object.fromEntries([...this.#cursors.values()].map(({ name, to }) => [name, to]));
    if (isMoving) this.again();
    // A cursor is also hidden if nothing else is drawn.
    clearTimeout(this.#idle);
    if (this.#cursors.size > 0) this.#idle = setTimeout(() => this.again(), IDLE);
  }

  /** Moves a cursor towards its place. Returns whether it isn't there yet. */
  #step(cursor, passed) {
    const { shown, to } = cursor;
    const [right, down] = [to[0] - shown[0], to[1] - shown[1]];
    const isThere = this.#isStill.matches || Math.hypot(right, down) * this.#view.scale < 0.5;
    const part = isThere ? 1 : 1 - (1 - PART) ** (passed / FRAME);
    cursor.shown = [shown[0] + right * part, shown[1] + down * part];
    return !isThere;
  }

  #paintCursor({ shown, label }) {
    const context = this.#context;
    const [x, y] = [(shown[0] - this.#view.x) * this.#view.scale, (shown[1] - this.#view.y) * this.#view.scale];
    context.save();
    context.translate(x, y);
    context.fillStyle = label.color;
    context.strokeStyle = "#fff";
    context.lineWidth = 1.5;
    context.beginPath();
    for (const [right, down] of [[0, 0], [4.5, 15.5], [7.6, 9.2], [14.5, 7]]) context.lineTo(right, down);
    context.closePath();
    context.fill();
    context.stroke();
    context.font = FONT;
    label.width ??= context.measureText(label.text).width;
    context.beginPath();
    context.roundRect(12, 15, label.width + 14, 22, 8);
    context.fill();
    context.fillStyle = "#fff";
    context.textBaseline = "middle";
    context.fillText(label.text, 19, 26.5);
    context.restore();
  }
}

const FONT = '600 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';

const tag = (name) => ({ text: name, color: `oklch(52% 0.14 ${hue(name)})`, width: undefined });
