// Reads the direction from keys or from a finger. Only changes are sent.

const KEYS = { KeyW: [0, -1], ArrowUp: [0, -1], KeyS: [0, 1], ArrowDown: [0, 1] };
Object.assign(KEYS, { KeyA: [-1, 0], ArrowLeft: [-1, 0], KeyD: [1, 0], ArrowRight: [1, 0] });

/** Distances in pixels from the point where the finger went down: from FAR on full speed, below NEAR no movement. */
const FAR = 48;
const NEAR = 10;
/** The number of directions of a finger. With more directions, each small movement would be sent. */
const DIRECTIONS = 24;

export class Steer {
  /** Where the finger went down and where it is now, for drawing. */
  finger = undefined;
  #down = new Set();
  #sent = "0,0";
  #send;
  #ended = new AbortController();

  constructor(place, send) {
    this.#send = send;
    const { signal } = this.#ended;
    addEventListener("keydown", (event) => this.#key(event, true), { signal });
    addEventListener("keyup", (event) => this.#key(event, false), { signal });
    // If a key is released in another window, there is no event.
    addEventListener("blur", () => this.stop(), { signal });
    document.addEventListener("visibilitychange", () => this.stop(), { signal });
    place.addEventListener("pointerdown", (event) => this.#touch(event), { signal });
    place.addEventListener("pointermove", (event) => this.#move(event), { signal });
    for (const event of ["pointerup", "pointercancel"]) place.addEventListener(event, () => this.stop(), { signal });
  }

  stop() {
    this.#down.clear();
    this.finger = undefined;
    this.#say();
  }

  /** Sends the direction again: after a rejoin the server knows no direction. */
  again() {
    this.#sent = "0,0";
    this.#say();
  }

  end() {
    this.#ended.abort();
  }

  #key(event, isDown) {
    if (!KEYS[event.code] || event.altKey || event.ctrlKey || event.metaKey || event.target.closest?.("input, dialog")) return;
    event.preventDefault();
    if (isDown) this.#down.add(event.code);
    else this.#down.delete(event.code);
    this.#say();
  }

  #touch(event) {
    if (event.target.closest("button, a")) return;
    event.currentTarget.setPointerCapture(event.pointerId);
    this.finger = { from: [event.clientX, event.clientY], to: [event.clientX, event.clientY] };
    this.#say();
  }

  #move(event) {
    if (!this.finger) return;
    this.finger.to = [event.clientX, event.clientY];
    this.#say();
  }

  #way() {
    if (!this.finger) {
      const ways = [...this.#down].map((code) => KEYS[code]);
      // Two keys for one direction count as one.
      return [0, 1].map((axis) => Math.sign(ways.reduce((sum, way) => sum + way[axis], 0)));
    }
    const [x, y] = [0, 1].map((axis) => this.finger.to[axis] - this.finger.from[axis]);
    const length = Math.hypot(x, y);
    if (length < NEAR) return [0, 0];
    const angle = (Math.round((Math.atan2(y, x) / (2 * Math.PI)) * DIRECTIONS) / DIRECTIONS) * 2 * Math.PI;
    const speed = length < FAR ? 0.5 : 1;
    return [Math.cos(angle), Math.sin(angle)].map((part) => Math.round(part * speed * 100) / 100);
  }

  #say() {
    const [x, y] = this.#way();
    if (this.#sent === `${x},${y}`) return;
    this.#sent = `${x},${y}`;
    this.#send({ x, y });
  }
}
