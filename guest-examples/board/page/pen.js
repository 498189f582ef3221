// The pointers on the board: a mouse, fingers and a pen. They draw, move the board, and zoom.
//
// - One pointer draws. With the hand, it moves the board.
// - Two fingers move and zoom. A finger is ignored while a pen draws: it may be the palm of the hand.
// - The middle button, or the space bar and the left one, move the board. A wheel moves it, and zooms with Ctrl.

/** A line's height for wheels that count lines. */
const LINE = 16;

export class Pen {
  #stage;
  #view;
  #hand;
  #pointers = new Map();
  #drawing;
  #hasSpace = false;
  #box;

  /**
   * @param {HTMLElement} stage
   * @param {import("./view.js").View} view
   * @param {object} hand the page: its functions `begin`, `add`, `end`, `cancel`, `hover` and `leave` are called. `begin`, `add` and
   *   `hover` get a pixel of the stage, and `begin` says whether a stroke begins. `moves` says whether one pointer moves the board.
   */
  constructor(stage, view, hand) {
    this.#stage = stage;
    this.#view = view;
    this.#hand = hand;
    const on = (event, take, options) => stage.addEventListener(event, take, options);
    on("pointerdown", (event) => this.#down(event));
    on("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) on(end, (event) => this.#up(event));
    on("pointerleave", (event) => event.pointerType === "mouse" && hand.leave());
    on("wheel", (event) => this.#wheel(event), { passive: false });
    on("contextmenu", (event) => this.#pointers.size > 0 && event.preventDefault());
    addEventListener("keydown", (event) => event.code === "Space" && event.target === stage && this.#space(event, true));
    addEventListener("keyup", (event) => event.code === "Space" && this.#space(event, false));
    addEventListener("blur", () => (this.#hasSpace = false));
  }

  /** Ends what the pointers do. */
  stop() {
    if (this.#drawing !== undefined) this.#hand.end();
    this.#drawing = undefined;
    this.#pointers.clear();
  }

  #down(event) {
    const { pointerId, pointerType, button } = event;
    if (button > 1) return;
    event.preventDefault();
    this.#stage.focus({ preventScroll: true });
    this.#box = this.#stage.getBoundingClientRect();
    const drawn = this.#pointers.get(this.#drawing);
    if (drawn?.type === "pen" && pointerType === "touch") return;
    if (pointerType === "pen") this.stop();
    this.#stage.setPointerCapture(pointerId);
    const moves = button === 1 || this.#hasSpace || this.#hand.moves();
    this.#pointers.set(pointerId, { type: pointerType, moves, ...this.#at(event) });
    if (this.#pointers.size > 1) {
      if (this.#drawing !== undefined) this.#hand.cancel();
      this.#drawing = undefined;
    } else if (!moves && this.#hand.begin(...this.#pixel(event))) this.#drawing = pointerId;
    this.#stage.classList.toggle("moving", moves);
  }

  #move(event) {
    const { pointerId } = event;
    const before = this.#pointers.get(pointerId);
    if (!before) {
      this.#box = this.#stage.getBoundingClientRect();
      return this.#hand.hover(...this.#pixel(event));
    }
    if (this.#drawing === pointerId) {
      const events = event.getCoalescedEvents?.() ?? [];
      for (const each of events.length > 0 ? events : [event]) this.#hand.add(...this.#pixel(each));
      return this.#hand.hover(...this.#pixel(event));
    }
    const pair = [...this.#pointers.values()];
    const [old, oldSpread] = middle(pair);
    Object.assign(before, this.#at(event));
    const [now, spread] = middle(pair);
    if (pair.length > 1 && oldSpread > 0) this.#view.zoom(spread / oldSpread, ...now);
    if (pair.length > 1 || before.moves) this.#view.move(now[0] - old[0], now[1] - old[1]);
  }

  #up({ pointerId, pointerType }) {
    if (!this.#pointers.delete(pointerId)) return;
    if (this.#drawing === pointerId) {
      this.#drawing = undefined;
      this.#hand.end();
    }
    // The finger that is left after a pinch neither draws nor moves, until it is lifted.
    if (pointerType !== "mouse") this.#hand.leave();
    this.#stage.classList.remove("moving");
  }

  #wheel(event) {
    event.preventDefault();
    this.#box = this.#stage.getBoundingClientRect();
    const unit = event.deltaMode === 1 ? LINE : event.deltaMode === 2 ? this.#view.height : 1;
    const [right, down] = [event.deltaX * unit, event.deltaY * unit];
    if (event.ctrlKey || event.metaKey) this.#view.zoom(Math.exp(-Math.max(-80, Math.min(80, down)) / 160), ...this.#pixel(event));
    else if (event.shiftKey && right === 0) this.#view.move(-down, 0);
    else this.#view.move(-right, -down);
  }

  #space(event, isDown) {
    this.#hasSpace = isDown;
    this.#stage.classList.toggle("grab", isDown);
    if (isDown) event.preventDefault();
  }

  #at(event) {
    const [x, y] = this.#pixel(event);
    return { x, y };
  }

  #pixel({ clientX, clientY }) {
    return [clientX - this.#box.left, clientY - this.#box.top];
  }
}

/** The place in the middle of all pointers, and the distance of the first two. */
function middle(pointers) {
  const [one, other = one] = pointers;
  return [[(one.x + other.x) / 2, (one.y + other.y) / 2], Math.hypot(one.x - other.x, one.y - other.y)];
}
