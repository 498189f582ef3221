// The values of the charts, from when the page was opened.

/** The most points. If there are more, each two of them become one, so that the whole time stays. */
const POINTS_MAX = 720;

/** The metrics that are computed of two pushes: the difference of a count in a second. */
const RATES = ["messages", "broadcasts", "deliveries", "frames", "received_bytes", "sent_bytes", "calls", "faults"];

export class Series {
  /** @type {Array<Record<string, number> & {at: number}>} */
  points = [];
  #last = null;
  #processors = 1;
  /** How many pushes are one point. */
  #merged = 1;
  #pending = [];

  set processors(value) {
    this.#processors = Math.max(1, value);
  }

  /** Adds the counts of a push, which came at a time in milliseconds. */
  add(counts, at) {
    const last = this.#last;
    this.#last = { counts, at };
    // After a restart of the host, the counts begin again.
    if (!last || counts.uptime_ms < last.counts.uptime_ms) return;
    const seconds = (counts.uptime_ms - last.counts.uptime_ms) / 1000;
    if (seconds <= 0) return;
    const point = { at, sockets: counts.sockets, channels: counts.channels, topics: counts.topics, memory: counts.memory_bytes };
    for (const name of RATES) point[name] = (counts[name] - last.counts[name]) / seconds;
    point.cpu = (counts.cpu_ms - last.counts.cpu_ms) / 1000 / seconds / this.#processors;
    point.pressure = Math.min(1, (counts.pressure_ms - last.counts.pressure_ms) / 1000 / seconds);
    this.#pending.push(point);
    if (this.#pending.length < this.#merged) return;
    this.points.push(mean(this.#pending));
    this.#pending = [];
    if (this.points.length > POINTS_MAX) this.#halve();
  }

  /** The time in which the page had no connection: the line of a chart has a gap there. */
  interrupt() {
    if (this.points.length > 0 && !this.points.at(-1).gap) this.points.push({ ...this.points.at(-1), gap: true });
    this.#last = null;
  }

  #halve() {
    const halved = [];
    for (let at = 0; at < this.points.length; at += 2) {
      const pair = this.points.slice(at, at + 2);
      const gap = pair.find((point) => point.gap);
      halved.push(gap ?? mean(pair));
    }
    this.points = halved;
    this.#merged *= 2;
  }
}

function mean(points) {
  if (points.length === 1) return points[0];
  const sum = {};
  for (const name of Object.keys(points[0])) sum[name] = points.reduce((total, point) => total + point[name], 0) / points.length;
  sum.at = points.at(-1).at;
  return sum;
}
