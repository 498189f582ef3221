// Calls of the host's API. The cookie of the session is sent by the browser, and this page never sees it.

/** The answer to a call is an error. */
export class RequestError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Called when the session has ended. */
let onEnd = () => {};
export const whenSessionEnds = (call) => (onEnd = call);

/**
 * Makes a call, and returns the JSON of its answer.
 *
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 */
export async function request(method, path, body) {
  const options = { method, credentials: "same-origin", cache: "no-store" };
  if (body !== undefined) Object.assign(options, { headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new RequestError(0, "The host doesn't answer.");
  }
  const text = await answer.text();
  let content = null;
  try {
    content = text === "" ? null : JSON.parse(text);
  } catch {
    // The status says what is wrong.
  }
  if (answer.ok) return content;
  if (answer.status === 401 && path !== "/dashboard/session") onEnd();
  throw new RequestError(answer.status, content?.error?.message ?? `The host answered with the status ${answer.status}.`);
}

/** What the session may do, or null. */
export const session = async () => (await request("GET", "/dashboard/session")).session;
export const signIn = async (key) => (await request("POST", "/dashboard/session", { key })).session;
export const signOut = () => request("DELETE", "/dashboard/session");

/** A path with parameters. Those without a value are left out. */
export function withParams(path, params) {
  const given = Object.entries(params).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return `${path}?${new URLSearchParams(given)}`;
}
