// A chart of one or two lines over time.

import { h, say, set, svg } from "./dom.mjs";
import { duration } from "./format.mjs";

const [WIDTH, HEIGHT] = [320, 88];
let charts = 0;

/**
 * Makes a chart.
 *
 * @param {{title: string, hint?: string, lines: Array<{name: string, label?: string, colour: string}>, show: (value: number) => string,
 *   least?: number}} options `least` is the smallest top of the scale
 */
export function chart({ title, hint, lines, show, least = 1 }) {
  charts += 1;
  const value = h("strong", { class: "value" }, "–");
  const legend = h("div", { class: "legend" });
  const top = h("span");
  const [from, to] = [h("span"), h("span", {}, "now")];
  const marks = lines.map(({ colour }) => ({
    area: svg("path", { class: "area", fill: `url(#fade-${colour}-${charts})` }),
    line: svg("path", { class: `line ${colour}` }),
  }));
  const fades = lines.map(({ colour }) =>
    svg("linearGradient", { id: `fade-${colour}-${charts}`, x1: 0, y1: 0, x2: 0, y2: 1 },
      svg("stop", { class: `fade ${colour}`, offset: "0", "stop-opacity": 0.32 }),
      svg("stop", { class: `fade ${colour}`, offset: "1", "stop-opacity": 0.02 })));
  const cursor = svg("line", { class: "cursor", y1: 0, y2: HEIGHT, visibility: "hidden" });
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": title },
    svg("defs", {}, fades), svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: HEIGHT / 2, y2: HEIGHT / 2 }),
    marks.flatMap(({ area, line }) => [area, line]), cursor);
  const plot = h("div", { class: "plot" }, drawing);
  const element = h("section", { class: "card chart" }, h("header", {}, h("h2", { title: hint }, title), value), legend, plot, h("footer", {}, from, top, to));
  let [points, hovered] = [[], null];

  const draw = () => {
    const shown = points.filter((point) => !point.gap);
    if (shown.length === 0) return;
    const [first, last] = [points[0].at, points.at(-1).at];
    const most = Math.max(least, ...lines.flatMap(({ name }) => shown.map((point) => point[name] || 0)));
    const x = (at) => (last === first ? WIDTH : ((at - first) / (last - first)) * WIDTH);
    const y = (amount) => HEIGHT - 2 - ((amount || 0) / most) * (HEIGHT - 8);
    for (const [at, { name }] of lines.entries()) {
      const parts = runs(points).map((run) => run.map((point) => `${x(point.at).toFixed(1)},${y(point[name]).toFixed(1)}`));
      set(marks[at].line, "d", parts.map((part) => `M${part.join("L")}`).join(""));
      set(marks[at].area, "d", parts.map((part) => `M${part[0].split(",")[0]},${HEIGHT}L${part.join("L")}L${part.at(-1).split(",")[0]},${HEIGHT}Z`).join(""));
    }
    const point = hovered === null ? shown.at(-1) : nearest(shown, first + hovered * (last - first));
    set(cursor, "visibility", hovered === null ? "hidden" : "visible");
    set(cursor, "x1", x(point.at));
    set(cursor, "x2", x(point.at));
    say(value, show(point[lines[0].name]));
    say(top, `scale to ${show(most)}`);
    say(from, last > first ? `${duration(last - first)} ago` : "");
    say(to, hovered === null || point.at === last ? "now" : `${duration(last - point.at)} ago`);
    for (const [at, { name, label }] of lines.entries()) if (label) say(legend.children[at].lastChild, `${label} ${show(point[name])}`);
    set(drawing, "aria-label", `${title}: ${lines.map(({ name, label }) => `${label ?? ""} ${show(point[name])}`.trim()).join(", ")}`);
  };
  const labelled = lines.filter(({ label }) => label);
  legend.append(...labelled.map(({ label, colour }) => h("span", {}, h("i", { class: colour }), h("span", {}, label))));
  plot.addEventListener("pointermove", (event) => {
    const place = drawing.getBoundingClientRect();
    hovered = Math.min(1, Math.max(0, (event.clientX - place.left) / place.width));
    draw();
  });
  plot.addEventListener("pointerleave", () => {
    hovered = null;
    draw();
  });
  element.update = (all) => {
    points = all;
    draw();
  };
  return element;
}

/** The points without a gap between them. */
function runs(points) {
  const found = [[]];
  for (const point of points) {
    if (point.gap) found.push([]);
    else found.at(-1).push(point);
  }
  return found.filter((run) => run.length > 0);
}

function nearest(points, at) {
  return points.reduce((best, point) => (Math.abs(point.at - at) < Math.abs(best.at - at) ? point : best));
}
