// The lower canvas: all strokes. A worker draws them (painter.js). This part moves and scales the worker's drawing until the worker
// has drawn the present view.

/** The view must stay the same for this time before everything is drawn again, in milliseconds. */
const CALM = 120;

export class Paper {
  /** The number of strokes that are drawn, and the part of the board that they take. */
  count = 0;
  box = undefined;
  /** The number of pieces of each stroke that the worker has. */
  #pieces = new Map();
  /** The numbers of messages with changes: how many were sent, and how many are drawn. */
  #sent = 0;
  #done = 0;
  #layers;
  #view;
  #watcher;
  #worker = new Worker(new URL("painter.js", import.meta.url), { type: "module" });
  #calm;
  /** Until the first state is read, no view is drawn, because the view is fitted to that state. */
  #isFirst = true;
  /** The size to which the worker fits the first view: that of the page when the first changes came. */
  #size;

  /**
   * @param {HTMLCanvasElement[]} canvases two canvases in the same place
   * @param {import("./view.js").View} view
   * @param {{first: () => void, done: () => void}} watcher `first` is called when the first state was read, and fits the view to it;
   *   `done` is called whenever everything is drawn
   */
  constructor(canvases, view, watcher) {
    this.#view = view;
    this.#watcher = watcher;
    this.#layers = canvases.map((canvas) => ({ canvas, view: view.copy() }));
    const given = canvases.map((canvas) => canvas.transferControlToOffscreen());
    this.#worker.postMessage({ canvases: given }, given);
    this.#worker.onmessage = ({ data }) => this.#hear(data);
  }

  /** Whether a stroke is drawn with this number of pieces. */
  has(key, pieces) {
    return this.#done === this.#sent && (this.#pieces.get(key) ?? 0) >= pieces;
  }

  /**
   * Takes the published state.
   *
   * @param {(key: string) => object | undefined} read the current value of a key
   * @param {string[]} keys the keys that may have changed
   * @param {boolean} isWhole whether these are all keys of the state
   */
  take(read, keys, isWhole) {
    const changes = [];
    if (isWhole) {
      for (const key of this.#pieces.keys()) if (read(key) === undefined) changes.push(this.#remove(key));
    }
    for (const key of keys) {
      const stroke = read(key);
      if (stroke === undefined) {
        if (this.#pieces.has(key)) changes.push(this.#remove(key));
        continue;
      }
      const known = this.#pieces.get(key) ?? 0;
      let [pieces, line] = [known, ""];
      // The lines of the pieces continue each other.
      for (; stroke.p[pieces] !== undefined; pieces += 1) line += stroke.p[pieces];
      if (pieces > known) changes.push(`${key} ${stroke.c} ${stroke.w} ${line}`);
      this.#pieces.set(key, pieces);
    }
    this.#sent += 1;
    // One text is passed to a worker much faster than thousands of small objects.
    this.#size ??= this.#view.copy();
    this.#worker.postMessage({ changes: changes.join("\n"), size: this.#size });
  }

  /** Sets the colors, `light` or `dark`. */
  paint(theme) {
    this.#worker.postMessage({ theme });
  }

  /** The view has changed. */
  moved() {
    for (const layer of this.#layers) place(layer, this.#view);
    clearTimeout(this.#calm);
    if (!this.#isFirst) this.#calm = setTimeout(() => this.#worker.postMessage({ view: this.#view.copy() }), CALM);
  }

  #remove(key) {
    this.#pieces.delete(key);
    return key;
  }

  #hear({ done, count, box, isDrawn, shown, view }) {
    if (shown !== undefined) {
      this.#layers[shown].view = view;
      this.#layers.forEach(({ canvas }, index) => (canvas.hidden = index !== shown));
      return place(this.#layers[shown], this.#view);
    }
    Object.assign(this, { count, box });
    this.#done = done;
    if (isDrawn) return this.#watcher.done();
    if (!this.#isFirst) return undefined;
    this.#watcher.first();
    this.#isFirst = false;
    clearTimeout(this.#calm);
    // The worker draws the first view without waiting for this page, which is busy then.
    const fitted = this.#view.copy();
    const isSame = ["width", "height", "ratio"].every((part) => fitted[part] === this.#size[part]);
    return isSame ? undefined : this.#worker.postMessage({ view: fitted });
  }
}

/** Moves and scales a drawing of an older view. */
function place({ canvas, view: drawn }, view) {
  const scale = view.scale / drawn.scale;
  const [x, y] = [(drawn.x - view.x) * view.scale, (drawn.y - view.y) * view.scale];
  canvas.style.width = `${drawn.width}px`;
  canvas.style.height = `${drawn.height}px`;
  canvas.style.transform = scale === 1 && x === 0 && y === 0 ? "none" : `translate(${x}px, ${y}px) scale(${scale})`;
}
