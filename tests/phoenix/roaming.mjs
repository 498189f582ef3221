// The official Phoenix client in a chat room, for tests of a cluster (`tests/tests/nodes/phoenix.rs`). It says what it notices on standard
// output, a line of JSON for each, and sends each line of its standard input as a message.
//
//   node roaming.mjs ws://HOST:PORT/socket TOPIC USER

import { createInterface } from "node:readline";
import { Presence, Socket } from "phoenix";
import { WebSocket } from "ws";

const [url, topic, user] = process.argv.slice(2);
const say = (what, more = {}) => process.stdout.write(`${JSON.stringify({ what, ...more })}\n`);

// Short delays, so that a test of reconnects is fast.
const socket = new Socket(url, { transport: WebSocket, reconnectAfterMs: () => 50, rejoinAfterMs: () => 50 });
const channel = socket.channel(topic, { user });
const presence = new Presence(channel);
presence.onSync(() => say("online", { users: Object.fromEntries(presence.list((name, { metas }) => [name, metas.length]).sort()) }));
channel.on("new_msg", ({ user, body }) => say("heard", { user, body }));
socket.onClose(() => say("disconnected"));
socket.connect();
channel.join().receive("ok", () => say("joined")).receive("error", (reason) => say("refused", { reason }));

for await (const line of createInterface({ input: process.stdin })) channel.push("new_msg", { body: line });
process.exit(0);
