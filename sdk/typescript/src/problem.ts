// The texts of values and errors, for the log and for faults.

/** A frame of the SDK in the engine, or of the SDK or Node in a test. */
const NOT_OWN = /(^|[\s(])bennu[:/]|\/vendor\/bennu\/|\bnode:/;

/** How many causes of an error are shown, one below the other. */
const CAUSES_MAX = 3;

/** How many numbers of a typed array are shown. */
const NUMBERS_MAX = 100;

/** The text of what a callback has thrown: of an error with the places in the script. */
export function problemText(problem: any): string {
  if (problem instanceof Error) return errorText(problem, CAUSES_MAX);
  const value = typeof problem === "string" ? JSON.stringify(problem) : shown(problem);
  return `${value} was thrown; throw an \`Error\` to see where`;
}

function errorText(error: Error, causes: number): string {
  const { name, message, cause } = error;
  const before = cause instanceof Error && causes > 0 ? errorText(cause, causes - 1) : cause === undefined ? "" : shownBriefly(cause);
  return `${name}: ${message}${places(error)}${before && `; caused by ${before}`}`;
}

/** The places in the script at which an error was made. */
export function places(error: Error): string {
  const frames = String(error.stack ?? "").split("\n").map((line) => line.trim().replace(/^at /, ""));
  const own = frames.filter((frame) => /:\d+/.test(frame) && !NOT_OWN.test(frame));
  return own.length ? `; in ${own.slice(0, 8).join(", called by ")}` : "";
}

/** The text of a value in a line of the log. A string is its own text. */
export function shown(value: unknown): string {
  if (value instanceof Error) return errorText(value, CAUSES_MAX);
  if (value instanceof Map || value instanceof Set) return `${value instanceof Map ? "Map" : "Set"} ${json([...value])}`;
  return shownBriefly(value);
}

function shownBriefly(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") return `[function ${value.name}]`;
  return json(value);
}

/** The JSON of a value, in which everything has a form. */
function json(value: unknown): string {
  // The objects that the present one is in, each with what stands for it.
  const holders: [unknown, unknown][] = [];
  try {
    const text = JSON.stringify(value, function (this: unknown, _, part) {
      const given = inJson(part);
      if (typeof given !== "object" || given === null) return given;
      while (holders.length > 0 && holders.at(-1)![1] !== this) holders.pop();
      if (holders.some(([holder]) => holder === part)) return "[circular]";
      holders.push([part, given]);
      return given;
    });
    return text ?? String(value);
  } catch {
    // Such as a `toJSON` that throws.
    return Object.prototype.toString.call(value);
  }
}

/** What stands for a value in JSON. */
function inJson(value: unknown): unknown {
  if (typeof value === "bigint") return `${value}n`;
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  if (value instanceof Map || value instanceof Set) return [...value];
  if (ArrayBuffer.isView(value) && !(value instanceof DataView)) {
    const numbers = value as Uint8Array, first = [...numbers.subarray(0, NUMBERS_MAX)].map(inJson);
    return numbers.length > NUMBERS_MAX ? [...first, `and ${numbers.length - NUMBERS_MAX} more`] : first;
  }
  return value;
}
