// `structuredClone`, as browsers have it: what has a meaning for one instance only can't be cloned.

const scope = globalThis as any;

/** The errors whose class a clone keeps. A clone of another error is an `Error`. */
const ERRORS: Record<string, ErrorConstructor> = { EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError } as any;

/** The name of a typed array's class, whatever subclass it has. */
const kindOf = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), Symbol.toStringTag)!.get!;

/** The prototypes of all iterators. Generators are iterators, too. Where such an object is can't be read, so it can't be copied. */
const ITERATORS = [[].values(), (async function* () {}).prototype].map((it) => Object.getPrototypeOf(Object.getPrototypeOf(it)));

/** The classes whose objects have no copy. */
const UNIQUE = ["Promise", "WeakMap", "WeakSet", "WeakRef", "FinalizationRegistry", "SharedArrayBuffer", "Symbol"]
  .map((name) => scope[name]).filter(Boolean);

/** Refuses an object of which a copy of its fields would lose something. Most objects have no class, so this is found first. */
function refuseUnique(value: object) {
  if (Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype) return;
  for (const kind of UNIQUE) {
    if (value instanceof kind) throw new TypeError(`a ${kind.name} can't be cloned`);
  }
  if (ITERATORS.some((prototype) => prototype.isPrototypeOf(value))) throw new TypeError("an iterator can't be cloned");
}

/** Sets a field also if the prototype has a frozen one of that name, or an accessor. */
function set(copy: any, key: string, value: unknown) {
  if (key in copy) Object.defineProperty(copy, key, { value, writable: true, enumerable: true, configurable: true });
  else copy[key] = value;
}

/** Gives an error a field that isn't listed. */
function hidden(error: Error, key: string, value: unknown) {
  Object.defineProperty(error, key, { value, writable: true, enumerable: false, configurable: true });
}

function errorOf(value: Error, copies: Map<unknown, unknown>): Error {
  const name = String(value.name), own = (key: string) => Object.getOwnPropertyDescriptor(value, key);
  const copy = new (Object.hasOwn(ERRORS, name) ? ERRORS[name] : Error)();
  copies.set(value, copy);
  // The message of a `DOMException` isn't its own field.
  if (own("message") || value.message) hidden(copy, "message", String(value.message));
  hidden(copy, "stack", String(value.stack ?? ""));
  if (own("cause")) hidden(copy, "cause", clone(value.cause, copies));
  return copy;
}

/** A buffer that can be resized has a copy that can. */
function bufferOf(value: any): ArrayBuffer {
  if (!value.resizable) return value.slice(0);
  const copy = new scope.ArrayBuffer(value.byteLength, { maxByteLength: value.maxByteLength });
  new Uint8Array(copy).set(new Uint8Array(value));
  return copy;
}

/** A view has the same part of a copy of its buffer, and views of one buffer share the copy. */
function viewOf(value: ArrayBufferView, copies: Map<unknown, unknown>): ArrayBufferView {
  const buffer = clone(value.buffer, copies), kind = kindOf.call(value);
  if (kind === undefined) return new DataView(buffer, value.byteOffset, value.byteLength);
  return new scope[kind](buffer, value.byteOffset, (value as Uint8Array).length);
}

/** A copy of a value, also of one that contains itself. */
export function clone(value: any, copies: Map<unknown, unknown>): any {
  if (typeof value === "function" || typeof value === "symbol") throw new TypeError(`a ${typeof value} can't be cloned`);
  if (typeof value !== "object" || value === null) return value;
  if (copies.has(value)) return copies.get(value);
  const keep = (copy: any) => (copies.set(value, copy), copy);
  if (value instanceof Date) return keep(new Date(value.getTime()));
  if (value instanceof RegExp) return keep(new RegExp(value.source, value.flags));
  if (value instanceof ArrayBuffer) return keep(bufferOf(value));
  if (ArrayBuffer.isView(value)) return keep(viewOf(value, copies));
  if (value instanceof Error) return errorOf(value, copies);
  if ([Boolean, Number, String, BigInt].some((kind) => value instanceof kind)) return keep(Object(value.valueOf()));
  if (value instanceof Map) {
    const copy = keep(new Map());
    for (const [key, part] of [...value]) copy.set(clone(key, copies), clone(part, copies));
    return copy;
  }
  if (value instanceof Set) {
    const copy = keep(new Set());
    for (const part of [...value]) copy.add(clone(part, copies));
    return copy;
  }
  refuseUnique(value);
  const copy = keep(Array.isArray(value) ? new Array(value.length) : {});
  for (const key of Object.keys(value)) set(copy, key, clone(value[key], copies));
  return copy;
}
