// The preparation of a canvas, in the page and in the worker.

/** Empties a canvas, and lets it draw in the units of the board. */
export function prepare({ canvas, context, view }) {
  const [width, height] = [Math.round(view.width * view.ratio), Math.round(view.height * view.ratio)];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, width, height);
  const scale = view.scale * view.ratio;
  context.setTransform(scale, 0, 0, scale, -view.x * scale, -view.y * scale);
  context.lineCap = context.lineJoin = "round";
}
