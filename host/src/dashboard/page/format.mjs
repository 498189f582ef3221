// Numbers, times and texts for people.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** A number with separators, or `–`. */
export const number = (value) => (Number.isFinite(value) ? whole.format(value) : "–");

/** A number in few characters, for a chart or a rate. */
export function short(value) {
  if (!Number.isFinite(value)) return "–";
  if (value > 0 && value < 10) return value < 0.05 ? "0" : value.toFixed(1).replace(/\.0$/, "");
  return value < 10_000 ? whole.format(value) : compact.format(value);
}

/** A number of bytes. */
export function bytes(value) {
  if (!Number.isFinite(value)) return "–";
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`;
}

/** A share of 1, in percent. */
export const percent = (value) => (Number.isFinite(value) ? `${value < 0.1 ? (value * 100).toFixed(1) : Math.round(value * 100)} %` : "–");

/** A duration in its two largest units. */
export function duration(ms) {
  const seconds = Math.floor(ms / 1000);
  const [days, hours, minutes] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

/** A time of the day, with the date if it isn't today's. */
export function time(ms) {
  const date = new Date(ms);
  const clock = date.toLocaleTimeString("en-GB");
  return date.toDateString() === new Date().toDateString() ? clock : `${date.toISOString().slice(0, 10)} ${clock}`;
}

/** How long ago a time is, in its largest unit. */
export const ago = (ms) => `${duration(Math.max(0, Date.now() - ms)).split(" ", 2).join(" ")} ago`;

/** The word for one or several things. */
export const count = (value, one, many = `${one}s`) => `${number(value)} ${value === 1 ? one : many}`;

/** Shows characters that can't be seen, or that change the direction of the text around them, as escapes. */
export const visible = (text) =>
  String(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g, (character) => `\\u{${character.codePointAt(0).toString(16)}}`);

/** The text of JSON with line breaks and indentation. Another text is returned as it is. */
export function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
