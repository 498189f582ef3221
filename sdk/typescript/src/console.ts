// The `console` of a plugin: lines in the host's log.
import { phase } from "./phase.ts";
import { places, safely, shown, UNSHOWN } from "./problem.ts";

/** A level of the host's log. */
export type Level = "trace" | "debug" | "info" | "warn" | "error";

/** The size of a table. Each row is a line of the log, and a call has 256 lines if the operator sets nothing else. */
const ROWS_MAX = 50, COLUMNS_MAX = 20;

/** The maximum length of a cell of a table, in characters. */
const CELL_MAX = 60;

/** How many levels of groups indent a line. */
const INDENTS_MAX = 16;

/** Replaces the places in a first text, such as `%s`, by the values after it. The values that are left follow the text. */
function textOf(parts: unknown[]): string {
  const [first, ...values] = parts;
  if (typeof first !== "string" || values.length === 0) return parts.map(shown).join(" ");
  const text = first.replace(/%([sdifjoOc%])/g, (place, kind) => {
    if (kind === "%") return "%";
    if (values.length === 0) return place;
    const value = values.shift();
    switch (kind) {
      case "c": return ""; // A style, which a log doesn't have.
      case "d": case "f": return String(numberOf(value));
      case "i": return String(Math.trunc(numberOf(value)));
      default: return shown(value);
    }
  });
  return [text, ...values.map(shown)].join(" ");
}

/** The number of a value. The conversion of an object is the script's own, and could throw. */
const numberOf = (value: unknown) => (value === null || ["bigint", "boolean", "number", "string"].includes(typeof value) ? Number(value) : NaN);

const labelOf = (label: unknown) => safely(() => String(label), UNSHOWN);

/** Cuts a cell, but no character in two: one can have two units in a string. */
function cut(text: string): string {
  if (text.length <= CELL_MAX) return text;
  const kept = text.slice(0, CELL_MAX - 1);
  return `${/[\ud800-\udbff]$/.test(kept) ? kept.slice(0, -1) : kept}…`;
}

const isRow = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;

/** The rows of a table: their names and values. */
function rowsOf(data: object): [string, unknown][] {
  if (data instanceof Map) return [...data].map(([key, value]) => [shown(key), value]);
  return Object.entries(data instanceof Set ? [...data] : data);
}

/** The lines of a table. Values that have no fields are in a column of their own. */
function tableOf(data: object, only: string[] | undefined): string[] {
  const all = rowsOf(data), rows = all.slice(0, ROWS_MAX);
  const fields = new Set(only ?? rows.flatMap(([, value]) => (isRow(value) ? Object.keys(value) : [])));
  const names = [...fields].slice(0, COLUMNS_MAX).map(String), hasValues = rows.some(([, value]) => !isRow(value));
  const cells = rows.map(([index, value]) => {
    const own = names.map((name) => (isRow(value) && Object.hasOwn(value, name) ? shown(value[name]) : ""));
    return [index, ...own, ...(hasValues ? [isRow(value) ? "" : shown(value)] : [])].map(cut);
  });
  const table = [["(index)", ...names, ...(hasValues ? ["Values"] : [])].map(cut), ...cells];
  const widths = table[0].map((_, column) => Math.max(...table.map((row) => row[column].length)));
  const lines = table.map((row) => row.map((cell, column) => cell.padEnd(widths[column])).join(" | ").trimEnd());
  return all.length > rows.length ? [...lines, `and ${all.length - rows.length} more rows`] : lines;
}

/** Makes a console. `now` is the time in milliseconds. */
export function consoleOf(write: (level: Level, line: string) => void, now: () => number) {
  const counts = new Map<string, number>(), timers = new Map<string, number>();
  let depth = 0, call = phase.calls;

  /** Counts, timers and groups end with the callback, because another instance may run the next one. */
  function renew() {
    if (call === phase.calls) return;
    [call, depth] = [phase.calls, 0];
    counts.clear();
    timers.clear();
  }
  function put(level: Level, text: string) {
    renew();
    // The text can be a client's, with half of a surrogate pair. That is no text for the host.
    write(level, ("  ".repeat(Math.min(depth, INDENTS_MAX)) + text).toWellFormed());
  }
  const logger = (level: Level) => (...parts: unknown[]) => put(level, textOf(parts));
  function group(...parts: unknown[]) {
    renew();
    if (parts.length > 0) put("info", textOf(parts));
    depth += 1;
  }
  function timed(label: string, parts: unknown[]) {
    renew();
    const since = timers.get(label);
    if (since === undefined) put("warn", `there is no timer \`${label}\` in this callback`);
    else put("info", [`${label}: ${now() - since} ms`, ...parts.map(shown)].join(" "));
  }

  return {
    debug: logger("debug"), error: logger("error"), info: logger("info"), log: logger("info"), warn: logger("warn"),
    trace: (...parts: unknown[]) => put("trace", `Trace${parts.length > 0 ? `: ${textOf(parts)}` : ""}${places(new Error())}`),
    assert(condition: unknown = false, ...parts: unknown[]) {
      if (!condition) put("error", parts.length > 0 ? `Assertion failed: ${textOf(parts)}` : "Assertion failed");
    },
    dir: (value: unknown) => put("info", shown(value)),
    table(data?: unknown, columns?: string[]) {
      if (!isRow(data)) return put("info", shown(data));
      for (const line of safely(() => tableOf(data, columns), [UNSHOWN])) put("info", line);
    },
    count(label: unknown = "default") {
      renew();
      const name = labelOf(label), number = (counts.get(name) ?? 0) + 1;
      counts.set(name, number);
      put("info", `${name}: ${number}`);
    },
    countReset(label: unknown = "default") {
      renew();
      const name = labelOf(label);
      if (!counts.delete(name)) put("warn", `there is no count \`${name}\` in this callback`);
    },
    time(label: unknown = "default") {
      renew();
      const name = labelOf(label);
      if (timers.has(name)) put("warn", `there is a timer \`${name}\` already`);
      else timers.set(name, now());
    },
    timeLog: (label: unknown = "default", ...parts: unknown[]) => timed(labelOf(label), parts),
    timeEnd(label: unknown = "default") {
      timed(labelOf(label), []);
      timers.delete(labelOf(label));
    },
    group, groupCollapsed: group,
    groupEnd() {
      renew();
      depth = Math.max(0, depth - 1);
    },
  };
}
