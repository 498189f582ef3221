// The visible part of a board.

import { SIZE, UNITS } from "./line.js";

const LARGEST = 4 / UNITS;
const SMALLEST = 0.06 / UNITS;
/** The space around the strokes when all of them are shown, in pixels: on the sides, above, and below. */
const SPACE = { side: 40, top: 84, bottom: 132 };

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
    return { x, y, scale, width, height, ratio, right: x + width / scale, bottom: y + height / scale };
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
    const scale = this.#possible(this.scale * factor);
    this.#put(this.x + left / this.scale - left / scale, this.y + top / this.scale - top / scale, scale);
  }

  /** Shows a part of the board, at 100 % or smaller. Without a part, shows the middle of the board. */
  fit(box) {
    const [left, top, right, bottom] = box ?? [SIZE / 2, SIZE / 2, SIZE / 2, SIZE / 2];
    const [width, height] = [this.width - 2 * SPACE.side, this.height - SPACE.top - SPACE.bottom];
    const wanted = Math.min(1 / UNITS, width / Math.max(right - left, 1), height / Math.max(bottom - top, 1));
    const scale = this.#possible(wanted);
    const middle = SPACE.top + height / 2;
    this.#put((left + right) / 2 - this.width / 2 / scale, (top + bottom) / 2 - middle / scale, scale);
  }

  #possible(scale) {
    return Math.min(Math.max(scale, SMALLEST), LARGEST);
  }

  /** The visible part stays on the board. If it is larger than the board, the board is in its middle. */
  #put(x, y, scale) {
    this.scale = this.#possible(scale);
    const inside = (place, size) => (size > SIZE ? (SIZE - size) / 2 : Math.min(Math.max(place, 0), SIZE - size));
    this.x = inside(x, this.width / this.scale);
    this.y = inside(y, this.height / this.scale);
    this.#changed();
  }
}
