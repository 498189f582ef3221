// The texts of values and errors, for the log and for faults.

/** A frame of the SDK in the engine, or of the SDK or Node in a test. */
const NOT_OWN = /(^|[\s(])bennu[:/]|\/(?:vendor\/bennu|node_modules\/bennu-sdk)\/|\bnode:/;

/** How many causes of an error are shown, one below the other. */
const CAUSES_MAX = 3;

/** How many numbers of a typed array are shown. */
const NUMBERS_MAX = 100;

/** What stands for a value that throws an error when it is looked at. */
export const UNSHOWN = "[a value that can't be shown]";

/** Calls a function that looks at a script's value. A getter or a proxy may throw, and a line of the log must not fail the callback. */
export function safely<T>(look: () => T, instead: T): T {
  try {
    return look();
  } catch {
    return instead;
  }
}

/**
 * The text of what a callback has thrown: of an error with the places in the script. It can contain a client's text. A half of a
 * surrogate pair is replaced, because it is no text for the host.
 */
export function problemText(problem: any): string {
  return safely(() => (problem instanceof Error ? errorText(problem, CAUSES_MAX) : thrownText(problem)), UNSHOWN).toWellFormed();
}

function thrownText(problem: unknown): string {
  const value = typeof problem === "string" ? JSON.stringify(problem) : shown(problem);
  return `${value} was thrown; throw an \`Error\` to see where`;
}

function errorText(error: Error, causes: number): string {
  const { name, message, cause } = error;
  const before = cause === undefined ? "" : safely(() => causeText(cause, causes), UNSHOWN);
  return `${String(name)}: ${String(message)}${places(error)}${before && `; caused by ${before}`}`;
}

function causeText(cause: unknown, causes: number): string {
  return cause instanceof Error && causes > 0 ? errorText(cause, causes - 1) : shownBriefly(cause);
}

/** The places in the script at which an error was made. In Node, its stack begins with its message, which can have any lines. */
export function places(error: Error): string {
  const lines = safely(() => String(error.stack ?? ""), "").split("\n");
  const frames = lines.filter((line) => /^\s*at /.test(line)).map((line) => line.trim().replace(/^at /, ""));
  const own = frames.filter((frame) => /:\d+/.test(frame) && !NOT_OWN.test(frame));
  return own.length ? `; in ${own.slice(0, 8).join(", called by ")}` : "";
}

/** The text of a value in a line of the log. A string is its own text. */
export function shown(value: unknown): string {
  return safely(() => {
    if (value instanceof Error) return errorText(value, CAUSES_MAX);
    if (value instanceof Map || value instanceof Set) return `${value instanceof Map ? "Map" : "Set"} ${json([...value])}`;
    return shownBriefly(value);
  }, UNSHOWN);
}

function shownBriefly(value: unknown): string {
  return typeof value === "string" ? value : withoutJson(value) ?? json(value);
}

/** The text of a value that JSON has no form for. */
function withoutJson(value: unknown): string | undefined {
  switch (typeof value) {
    case "bigint": return `${value}n`;
    case "function": return `[function ${String(value.name)}]`;
    case "number": return Number.isFinite(value) ? undefined : String(value);
    case "symbol": case "undefined": return String(value);
    default: return undefined;
  }
}

/** The JSON of a value, in which everything has a form. */
function json(value: unknown): string {
  // The objects that the present one is in, each with what stands for it.
  const holders: [unknown, unknown][] = [];
  return safely(() => JSON.stringify(value, function (this: any, key, part) {
    // The JSON of a date without a time is null.
    const given = part === null && this[key] instanceof Date ? String(this[key]) : inJson(part);
    if (typeof given !== "object" || given === null) return given;
    while (holders.length > 0 && holders.at(-1)![1] !== this) holders.pop();
    if (holders.some(([holder]) => holder === part)) return "[circular]";
    holders.push([part, given]);
    return given;
  }), UNSHOWN);
}

/** What stands for a value in JSON. */
function inJson(value: unknown): unknown {
  const text = withoutJson(value);
  if (text !== undefined) return text;
  if (value instanceof Error) return `${String(value.name)}: ${String(value.message)}`;
  if (value instanceof Map || value instanceof Set) return [...value];
  if (ArrayBuffer.isView(value) && !(value instanceof DataView)) {
    const numbers = value as Uint8Array, first = [...numbers.subarray(0, NUMBERS_MAX)].map(inJson);
    return numbers.length > NUMBERS_MAX ? [...first, `and ${numbers.length - NUMBERS_MAX} more`] : first;
  }
  return value;
}
