// The visible part of a board.

import { SIZE, UNITS } from "./line.js";

const LARGEST = 4 / UNITS;
const SMALLEST = 0.06 / UNITS;
/** The space around the strokes when all of them are shown, in pixels: on the sides, above, and below. */
const SPACE = { side: 40, top: 84, bottom: 132 };

const possible = (scale) => Math.min(Math.max(scale, SMALLEST), LARGEST);

/** The nearest possible view. The visible part stays on the board. If it is larger than the board, the board is in its middle. */
function placed({ width, height }, x, y, scale) {
  scale = possible(scale);
  const inside = (place, size) => (size > SIZE ? (SIZE - size) / 2 : Math.min(Math.max(place, 0), SIZE - size));
  return { x: inside(x, width / scale), y: inside(y, height / scale), scale };
}

/**
 * The view of this size that shows a part of the board, at 100 % or smaller. Without a part, it shows the middle of the board.
 *
 * @param {{width: number, height: number}} size
 * @param {number[]} [box] left, top, right and bottom of the part
 * @returns {{x: number, y: number, scale: number}}
 */
export function fitted(size, box) {
  const [left, top, right, bottom] = box ?? [SIZE / 2, SIZE / 2, SIZE / 2, SIZE / 2];
  const [width, height] = [size.width - 2 * SPACE.side, size.height - SPACE.top - SPACE.bottom];
  const wanted = Math.min(1 / UNITS, width / Math.max(right - left, 1), height / Math.max(bottom - top, 1));
  const scale = possible(wanted);
  const middle = SPACE.top + height / 2;
  return placed(size, (left + right) / 2 - size.width / 2 / scale, (top + bottom) / 2 - middle / scale, scale);
}

/** A view with its right and lower edge. */
export const withEdges = (view) => ({ ...view, right: view.x + view.width / view.scale, bottom: view.y + view.height / view.scale });

export class View {
  /** The size of the visible part in pixels. */
  width = 1;
  height = 1;
  /** Pixels of a unit, and the unit at the left upper corner. */
  scale = 1 / UNITS;
  x = SIZE / 2;
  y = SIZE / 2;
  #changed;

  /** @param {() => void} changed */
  constructor(changed) {
    this.#changed = changed;
  }

  /** The scale in percent. */
  get percent() {
    return Math.round(this.scale * UNITS * 100);
  }

  /** A copy, which stays as it is. */
  copy() {
    const { x, y, scale, width, height } = this;
    // More than two pixels for each pixel of the page aren't to be seen.
    const ratio = Math.min(devicePixelRatio, 2);
    return withEdges({ x, y, scale, width, height, ratio });
  }

  /** Takes another size. The middle of the board stays in the middle. */
  resize(width, height) {
    const [x, y] = [this.x + this.width / this.scale / 2, this.y + this.height / this.scale / 2];
    Object.assign(this, { width, height });
    this.#put(x - width / this.scale / 2, y - height / this.scale / 2, this.scale);
  }

  /** The place on the board under a pixel. It is always on the board. */
  at(left, top) {
    const place = (from, pixels) => Math.min(Math.max(Math.round(from + pixels / this.scale), 0), SIZE - 1);
    return [place(this.x, left), place(this.y, top)];
  }

  /** Moves the board by some pixels. */
  move(right, down) {
    this.#put(this.x - right / this.scale, this.y - down / this.scale, this.scale);
  }

  /** Zooms. The place under the pixel stays there. */
  zoom(factor, left = this.width / 2, top = this.height / 2) {
    const scale = possible(this.scale * factor);
    this.#put(this.x + left / this.scale - left / scale, this.y + top / this.scale - top / scale, scale);
  }

  /** Shows a part of the board, or its middle: see `fitted`. */
  fit(box) {
    Object.assign(this, fitted(this, box));
    this.#changed();
  }

  #put(x, y, scale) {
    Object.assign(this, placed(this, x, y, scale));
    this.#changed();
  }
}
