// The channel that components of a page share, without React: joins, leaves, pushes, and ends by the server.

import assert from "node:assert/strict";
import { test } from "node:test";

import { PushError, sharedChannel } from "../../client/shared_channel.mjs";
import { startHost, until } from "../host.mjs";
import { connect } from "./client.mjs";

/** A socket, with a list of the joins and leaves that it sends. */
async function start(t) {
  const host = await startHost(t, { plugins: ["reference"] });
  const socket = connect(t, host);
  const sent = [];
  const push = socket.push.bind(socket);
  socket.push = (message) => {
    if (["phx_join", "phx_leave"].includes(message.event)) sent.push([message.event.slice(4), message.payload]);
    return push(message);
  };
  return { host, socket, sent };
}

const hold = (shared, params) => shared.hold(params, JSON.stringify(params));
const reaches = (shared, status) => until(`${status}`, () => shared.snapshot.status === status);
const task = () => new Promise((resolve) => setTimeout(resolve, 0));
/** The status of a push that fails. */
const failure = async (push) => {
  const error = await push.then(() => assert.fail("the push succeeded"), (error) => error);
  assert.ok(error instanceof PushError, error);
  return error.status;
};

test("holders share a channel, which the last one leaves", async (t) => {
  const { socket, sent } = await start(t);
  const shared = sharedChannel(socket, "room:1");
  assert.equal(sharedChannel(socket, "room:1"), shared);
  hold(shared, { a: 1 })();
  const ends = [hold(shared, undefined), hold(shared, { a: 1 })];
  await reaches(shared, "joined");
  assert.deepEqual(shared.snapshot.response.params, { a: 1 }, "a holder without params takes those of the other");
  assert.deepEqual(sent, [["join", { a: 1 }]]);
  ends[0]();
  await task();
  ends[1]();
  const last = hold(shared, { a: 1 });
  await task();
  assert.deepEqual(sent, [["join", { a: 1 }]], "a component that moves doesn't leave");
  last();
  await task();
  assert.deepEqual(sent, [["join", { a: 1 }], ["leave", {}]]);
  hold(shared, { a: 1 });
  await reaches(shared, "joined");
  assert.equal(sent.length, 3);
});

test("other params are another join, when no holder wants the first ones", async (t) => {
  const { socket, sent } = await start(t);
  const errors = t.mock.method(console, "error", () => {});
  const shared = sharedChannel(socket, "room:1");
  const first = hold(shared, { a: 1 });
  await reaches(shared, "joined");
  hold(shared, { a: 2 });
  await task();
  assert.match(errors.mock.calls[0].arguments[0], /room:1 is already joined with other params/);
  assert.equal(sent.length, 1);
  first();
  await until("the second params", () => shared.snapshot.response?.params.a === 2);
  assert.deepEqual(sent, [["join", { a: 1 }], ["leave", {}], ["join", { a: 2 }]]);
});

test("a push resolves with the response, or throws the status of its reply", async (t) => {
  const { socket } = await start(t);
  const shared = sharedChannel(socket, "room:1");
  assert.equal(await failure(shared.push("echo")), "closed", "nobody holds the channel");
  const early = shared.push("echo", { n: 0 });
  const end = hold(shared, {});
  assert.deepEqual(await early, { n: 0 }, "a child's effect may push before its parent's has joined");
  assert.deepEqual(await shared.push("echo", { n: 1 }), { n: 1 });
  const error = await shared.push("echo_error", { reason: "no" }).catch((error) => error);
  assert.deepEqual([error.status, error.response, error.message], ["error", { reason: "no" }, "echo_error on room:1: no"]);
  assert.equal(await failure(shared.push("status", { status: "maybe" })), "maybe");
  assert.equal(await failure(shared.push("noreply", {}, 20)), "timeout");
  const unanswered = shared.push("noreply");
  end();
  assert.equal(await failure(unanswered), "closed");
});

test("after an end by the server, the handlers stay, and a new holder or `rejoin` joins", async (t) => {
  const { socket, sent } = await start(t);
  const shared = sharedChannel(socket, "room:1");
  const heard = [];
  const send = (event, payload) => shared.push(event, payload).catch(() => {});
  const off = shared.on("shout", ({ n }) => heard.push(n));
  hold(shared, undefined);
  await reaches(shared, "joined");

  assert.equal(await failure(shared.push("crash")), "closed");
  await until("phoenix.js has joined again", () => sent.length === 2 && shared.snapshot.status === "joined");
  await shared.push("shout_ack", { n: 1 });
  send("stop");
  await reaches(shared, "closed");
  assert.equal(await failure(shared.push("echo")), "closed");
  hold(shared, undefined);
  await reaches(shared, "joined");
  send("stop");
  await reaches(shared, "closed");
  shared.rejoin();
  await reaches(shared, "joined");
  send("shout", { n: 2 });
  await until("the handler has both", () => heard.length > 1);
  off();
  send("shout", { n: 3 });
  await shared.push("echo");
  assert.deepEqual(heard, [1, 2]);
});
