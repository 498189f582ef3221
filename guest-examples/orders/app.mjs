// A web application next to Bennu: it knows its users and their orders. It signs sessions, tells a gatekeeper who somebody is, tells the
// customer's pages about a new order, and gets a webhook when the customer has acknowledged it. README.md says how to run it.

import { createHmac, randomUUID, timingSafeEqual } from "node:crypto";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { basename, extname, join } from "node:path";

const { PORT = 3000, BENNU = "http://localhost:4000", BENNU_API_KEY, SESSION_SECRET, WEBHOOK_SECRET, DATA = "orders.json", PAGES = "page" } = process.env;
const state = { orders: {}, hooks: [] };
try { Object.assign(state, JSON.parse(readFileSync(DATA, "utf8"))); } catch (error) { if (error.code !== "ENOENT") throw error; }
function save() {
  writeFileSync(`${DATA}.new`, JSON.stringify(state));
  renameSync(`${DATA}.new`, DATA);
}

const sign = (key, text) => createHmac("sha256", key).update(text).digest();
const same = (a, b) => a.length === b.length && timingSafeEqual(a, b);
const session = (user) => `${encodeURIComponent(user)}.${sign(SESSION_SECRET, user).toString("base64url")}`;
function userOf({ headers: { cookie = "" } }) {
  const [, user, mac] = /(?:^|; )session=([^;.]+)\.([\w-]+)/.exec(cookie) ?? [];
  const name = user && decodeURIComponent(user);
  return name && same(Buffer.from(mac, "base64url"), sign(SESSION_SECRET, name)) ? name : null;
}
/** Whether a webhook comes from Bennu: docs/http.md#signatures. */
function isSigned({ headers }, body) {
  const { "webhook-id": id, "webhook-timestamp": time, "webhook-signature": signatures = "" } = headers;
  const expected = sign(Buffer.from(WEBHOOK_SECRET.slice("whsec_".length), "base64"), `${id}.${time}.${body}`);
  const isRecent = Math.abs(Date.now() / 1000 - Number(time)) < 300;
  return isRecent && signatures.split(" ").some((text) => same(Buffer.from(text.slice("v1,".length), "base64"), expected));
}

/** Tells Bennu about the orders that it doesn't have yet. Again and again, because either side may be restarted. */
async function tell() {
  for (const order of Object.values(state.orders).filter((order) => !order.told)) {
    const headers = { authorization: `Bearer ${BENNU_API_KEY}`, "content-type": "application/json", "idempotency-key": order.id };
    const body = JSON.stringify({ topic: `orders:${order.user}`, event: "placed", payload: { id: order.id, dish: order.dish } });
    const sending = fetch(`${BENNU}/api/send`, { method: "POST", headers, body });
    const answer = await sending.then((response) => response.ok && response.json()).catch(() => null);
    if (answer?.reply?.status !== "ok") continue;
    order.told = true;
    save();
  }
}
(async function keepTelling() { await tell(); setTimeout(keepTelling, 500); })();

const TYPES = { ".html": "text/html", ".css": "text/css", ".svg": "image/svg+xml", ".js": "text/javascript", ".mjs": "text/javascript" };
function page(path) {
  try { return readFileSync(join(PAGES, basename(path) || "index.html")); } catch { return null; }
}

const routes = {
  "GET /bennu": () => [200, { url: BENNU }],
  "POST /login": (request, { user }) => [204, null, { "set-cookie": `session=${session(user)}; HttpOnly; SameSite=Lax; Path=/` }],
  "GET /session": (request) => (userOf(request) ? [200, { user: userOf(request) }] : [401]),
  "GET /orders": (request) => [200, Object.values(state.orders).filter((order) => order.user === userOf(request))],
  "POST /orders": (request, { dish }) => {
    const [id, user] = [randomUUID(), userOf(request)];
    if (!user) return [401];
    state.orders[id] = { id, user, dish, told: false, acknowledged: 0 };
    save();
    return [201, { id }];
  },
  "POST /hooks": (request, { data }, body) => {
    if (!isSigned(request, body)) return [401];
    const id = request.headers["webhook-id"];
    // Bennu may deliver a webhook twice.
    if (!state.hooks.includes(id) && state.orders[data.id]) [state.hooks] = [[...state.hooks.slice(-999), id], state.orders[data.id].acknowledged++];
    save();
    return [204];
  },
};
createServer(async (request, response) => {
  const route = routes[`${request.method} ${request.url}`];
  const file = request.method === "GET" && !route && page(request.url);
  if (file) return response.writeHead(200, { "content-type": TYPES[extname(request.url) || ".html"] ?? "text/plain" }).end(file);
  let body = "";
  for await (const part of request) body += part;
  const [status, json = null, headers = {}] = route ? route(request, body && JSON.parse(body), body) : [404];
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(json && JSON.stringify(json));
}).listen(PORT, "127.0.0.1", () => console.log(`Listening on ${PORT}`));
