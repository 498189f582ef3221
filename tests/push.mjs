// A browser's subscription to push messages, and a stand-in for the push service of the browser's vendor.

import assert from "node:assert/strict";
import { createDecipheriv, createECDH, generateKeyPairSync, hkdfSync, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";

/**
 * Starts a push service.
 *
 * @param {import("node:test").TestContext} test at whose end it ends
 * @param {(count: number) => number} answer the status for each message; `count` is their number, with this one
 */
export async function startPushService(test, answer = () => 201) {
  const [keys, auth, messages] = [createECDH("prime256v1"), randomBytes(16), []];
  keys.generateKeys();
  const server = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    messages.push({ headers: request.headers, path: request.url, body: Buffer.concat(parts) });
    response.writeHead(answer(messages.length)).end();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  test.after(() => server.close());
  const url = `http://localhost:${server.address().port}`;
  const subscription = {
    endpoint: `${url}/send/ada`,
    keys: { p256dh: keys.getPublicKey("base64url"), auth: auth.toString("base64url") },
  };
  /** What the browser gets of a message: RFC 8291, RFC 8188. */
  const decrypted = (body) => {
    const [salt, sender, sealed] = [body.subarray(0, 16), body.subarray(21, 86), body.subarray(86)];
    assert.deepEqual([body.readUInt32BE(16), body[20]], [4096, 65]);
    const info = Buffer.concat([Buffer.from("WebPush: info\0"), keys.getPublicKey(), sender]);
    const input = Buffer.from(hkdfSync("sha256", keys.computeSecret(sender), auth, info, 32));
    const key = Buffer.from(hkdfSync("sha256", input, salt, "Content-Encoding: aes128gcm\0", 16));
    const nonce = Buffer.from(hkdfSync("sha256", input, salt, "Content-Encoding: nonce\0", 12));
    const cipher = createDecipheriv("aes-128-gcm", key, nonce).setAuthTag(sealed.subarray(-16));
    const plain = Buffer.concat([cipher.update(sealed.subarray(0, -16)), cipher.final()]);
    assert.equal(plain.at(-1), 2, "the only record is the last one");
    return JSON.parse(plain.subarray(0, -1));
  };
  return { url, subscription, messages, decrypted };
}

/** The configuration of `notifications` for a push service, with a new key of the host, and the public half of this key. */
export function pushConfig(url) {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  process.env.VAPID_KEY = privateKey.export({ type: "pkcs8", format: "pem" });
  // The last 65 bytes are the point itself.
  const pushKey = publicKey.export({ type: "spki", format: "der" }).subarray(-65).toString("base64url");
  const config = `
[plugins.notifications]
config = { push = ["${url}/"], push_key = "${pushKey}" }
http = ["${url}/*"]
web_push = { key = { env = "VAPID_KEY" }, subject = "mailto:ops@example.com" }
`;
  return { config, pushKey };
}
