// Notifications for one user: sent from any program, visible only to this user, and the same in all tabs.

import assert from "node:assert/strict";
import { createPublicKey, verify } from "node:crypto";
import { test } from "node:test";

import { notify, startDemo, token } from "../demo.mjs";
import { until } from "../host.mjs";
import { pushConfig, startPushService } from "../push.mjs";
import { connect, join, Joined } from "./client.mjs";

/** A socket with a token for `user`. */
async function as(t, host, user) {
  const socketUrl = host.socketUrl.replace("/socket", "/user");
  return connect(t, { socketUrl }, { authToken: await token(host, user) });
}

/** Joins a topic. Returns the channel with the join's reply in `reply`. */
async function open(socket, topic) {
  const channel = new Joined(socket.channel(topic));
  return Object.assign(channel, { reply: await channel.join() });
}

/** Sends Ada a notification over the HTTP API. Returns the reply. */
async function post(host, payload) {
  const answer = await host.api("/api/send", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ topic: "user:ada", event: "notify", payload }),
  });
  assert.equal(answer.status, 200);
  return (await answer.json()).reply;
}

const titles = ({ reply }) => reply.response.notifications.map((each) => each.title);

test("the command line, the API and another plugin send to an offline user", async (t) => {
  const config = '\n[plugins.naughty]\npublish = ["user:*"]\n';
  const host = await startDemo(t, { plugins: ["notifications", "naughty"], config });
  await notify(host, "ada", { title: "by command" });

  const { status, response } = await post(host, { title: "by HTTP" });
  assert.deepEqual([status, typeof response.id], ["ok", "string"]);
  const refused = { status: "error", response: { reason: "a title has 1 to 120 characters" } };
  assert.deepEqual(await post(host, { title: "" }), refused);

  const other = await join(connect(t, host), "naughty:1");
  await other.push("send", { topic: "user:ada", event: "notify", payload: { title: "by a plugin" } });
  const answered = await other.next("answered");
  assert.deepEqual([answered.topic, answered.payload.status], ["user:ada", "ok"]);

  const ada = await open(await as(t, host, "ada"), "user:ada");
  assert.deepEqual(titles(ada), ["by a plugin", "by HTTP", "by command"]);
  assert.equal(ada.reply.response.unread, 3);
});

test("a plugin without a grant can't send", async (t) => {
  const host = await startDemo(t, { plugins: ["notifications", "naughty"] });
  const other = await join(connect(t, host), "naughty:1");
  other.send("send", { topic: "user:ada", event: "notify", payload: { title: "by a plugin" } });
  await other.next("phx_error");
  const ada = await open(await as(t, host, "ada"), "user:ada");
  assert.deepEqual(titles(ada), []);
});

test("other users can't join, and clients without a token can't connect", async (t) => {
  const host = await startDemo(t);
  await notify(host, "ada", { title: "for Ada" });
  const bo = await as(t, host, "bo");
  assert.equal((await open(bo, "user:ada")).reply.status, "error");
  assert.deepEqual(titles(await open(bo, "user:bo")), []);
  // The mount without authentication.
  assert.equal((await open(connect(t, host), "user:ada")).reply.status, "error");

  const longPoll = (headers) => fetch(`${host.url}/user/longpoll?vsn=2.0.0`, { headers }).then((answer) => answer.json());
  assert.equal((await longPoll({})).status, 403);
  assert.equal((await longPoll({ "x-phoenix-authtoken": "forged" })).status, 403);
  const old = await token(host, "ada", "--max-age", "0");
  assert.equal((await longPoll({ "x-phoenix-authtoken": old })).status, 403);
  assert.equal((await longPoll({ "x-phoenix-authtoken": await token(host, "ada") })).status, 410, "a session begins");
});

test("a notification read in one tab is read in the other, and after a restart", async (t) => {
  const host = await startDemo(t);
  const first = await notify(host, "ada", { title: "first" });
  const second = await notify(host, "ada", { title: "second" });
  const socket = await as(t, host, "ada");
  const [one, two] = [await open(socket, "user:ada"), await open(await as(t, host, "ada"), "user:ada")];
  assert.deepEqual((await one.push("read", { id: first })).response, { unread: 1 });
  for (const tab of [one, two]) assert.deepEqual(await tab.next("read"), { id: first, unread: 1 });
  socket.disconnect();

  await host.stop();
  await host.start();
  const third = await notify(host, "ada", { title: "third" });
  const later = await open(await as(t, host, "ada"), "user:ada");
  assert.deepEqual(titles(later), ["third", "second", "first"]);
  assert.deepEqual(later.reply.response.notifications.map((each) => each.read), [false, false, true]);
  assert.equal(later.reply.response.unread, 2);
  assert.deepEqual((await later.push("read_all", { to: third })).response, { unread: 0 });
  assert.ok(first < second && second < third, "ids sort in the order of the notifications, also after a restart");
});

test("the maximum number of notifications of maximum size is stored and read", async (t) => {
  const host = await startDemo(t);
  const socket = await as(t, host, "ada");
  const ada = await open(socket, "user:ada");
  const wide = (length) => "\u{1f426}".repeat(length);
  const largest = { title: wide(120), body: wide(1000), link: `/${wide(499)}` };
  let last;
  for (let n = 0; n < 502; n += 1) last = await post(host, largest);
  const { id } = last.response;
  assert.equal((await ada.push("older", { before: id })).response.notifications.length, 30);
  assert.deepEqual(await ada.push("read_all", { to: id }), { status: "ok", response: { unread: 0 } });
  assert.equal(ada.joins, 1, "no limit was exceeded");
});

/** Checks the identification of the sender: RFC 8292. */
function checkSender({ headers }, audience) {
  const [, token, key] = /^vapid t=(.+), k=(.+)$/.exec(headers.authorization);
  const [head, claims, signature] = token.split(".");
  const point = Buffer.from(key, "base64url");
  const [x, y] = [point.subarray(1, 33), point.subarray(33)].map((part) => part.toString("base64url"));
  const publicKey = createPublicKey({ key: { kty: "EC", crv: "P-256", x, y }, format: "jwk" });
  const signed = Buffer.from(`${head}.${claims}`);
  assert.ok(verify("sha256", signed, { key: publicKey, dsaEncoding: "ieee-p1363" }, Buffer.from(signature, "base64url")));
  const { aud, exp, sub } = JSON.parse(Buffer.from(claims, "base64url"));
  assert.deepEqual([aud, sub], [audience, "mailto:ops@example.com"]);
  assert.ok(exp > Date.now() / 1000 && exp < Date.now() / 1000 + 24 * 60 * 60);
}

test("a user without a socket gets a push message, which only the browser can read", async (t) => {
  // At first, the service is too busy.
  const { url, subscription, messages, decrypted } = await startPushService(t, (count) => (count === 1 ? 503 : 201));
  const host = await startDemo(t, { plugins: ["notifications"], config: pushConfig(url).config });
  const socket = await as(t, host, "ada");
  const ada = await open(socket, "user:ada");
  assert.deepEqual(await ada.push("subscribe", subscription), { status: "ok", response: {} });
  await notify(host, "ada", { title: "seen in the page" });
  await ada.leave();
  await notify(host, "ada", { title: "the kettle is on" });
  await until("the push service has accepted it", () => messages.length === 2);
  for (const message of messages) {
    checkSender(message, url);
    assert.equal(decrypted(message.body).title, "the kettle is on");
    assert.equal(message.path, "/send/ada");
    assert.equal(message.headers["content-encoding"], "aes128gcm");
    assert.ok(Number(message.headers.ttl) > 86_000 && !message.body.includes("kettle"));
  }
  assert.notDeepEqual(messages[0].body, messages[1].body, "each attempt is encrypted anew");
});

test("a subscription that has ended is forgotten, although the host was killed meanwhile", async (t) => {
  const { url, subscription, messages } = await startPushService(t, () => 410);
  const host = await startDemo(t, { plugins: ["notifications"], config: pushConfig(url).config });
  const ada = await open(await as(t, host, "ada"), "user:ada");
  await ada.push("subscribe", subscription);
  await ada.leave();
  await notify(host, "ada", { title: "first" });
  await until("the push service has refused it", () => messages.length === 1);
  await host.kill();
  await host.start();
  await until("the topic was told", async () => {
    const { deliveries, jobs } = await (await host.api("/api/inspect")).json();
    return deliveries.all === 0 && jobs.all === 0;
  });
  const before = messages.length;
  await notify(host, "ada", { title: "second" });
  const { deliveries } = await (await host.api("/api/inspect")).json();
  assert.deepEqual([deliveries.all, messages.length], [0, before], "no message is sent to it any more");
});
