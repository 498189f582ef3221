// Many official Phoenix clients, each with an account of its own, for tests of a cluster (`tests/tests/nodes/phoenix.rs`). Each pays one into
// its account again and again. After a line on standard input, it stops to pay, waits for what is still unanswered, and says what happened:
// a line of JSON.
//
//   node payers.mjs ws://HOST:PORT/socket CLIENTS

import { once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { Socket } from "phoenix";
import { WebSocket } from "ws";

const [url, clients] = [process.argv[2], Number(process.argv[3])];

/** The pause of each client between two payments. */
const PAUSE_MS = 2_000;

const total = { acknowledged: 0, unknown: 0, joins: 0, longest_away_ms: 0, most_joins_in_a_second: 0 };
const joinsBySecond = new Map();
let isPaying = true;
let open = 0;

/** Connects a client, with the delays that phoenix.js has by itself. */
function client(number) {
  const socket = new Socket(url, { transport: WebSocket });
  const channel = socket.channel(`ledger:${number}`);
  let awaySince = Date.now();
  socket.onClose(() => (awaySince ??= Date.now()));
  channel.onError(() => (awaySince ??= Date.now()));
  socket.connect();
  channel.join().receive("ok", () => {
    const second = Math.floor(Date.now() / 1000);
    const joins = (joinsBySecond.get(second) ?? 0) + 1;
    joinsBySecond.set(second, joins);
    total.joins += 1;
    total.most_joins_in_a_second = Math.max(total.most_joins_in_a_second, joins);
    if (awaySince !== null) total.longest_away_ms = Math.max(total.longest_away_ms, Date.now() - awaySince);
    awaySince = null;
  });
  const pay = () => {
    if (!isPaying) return;
    open += 1;
    const answered = (count) => () => {
      open -= 1;
      total[count] += 1;
      setTimeout(pay, PAUSE_MS);
    };
    channel.push("deposit", { to: `client-${number}`, n: 1 }).receive("ok", answered("acknowledged")).receive("error", answered("unknown")).receive("timeout", answered("unknown"));
  };
  setTimeout(pay, (number * PAUSE_MS) / clients);
}

for (let number = 0; number < clients; number += 1) client(number);
await once(process.stdin, "data");
isPaying = false;
while (open > 0) await pause(20);
process.stdout.write(`${JSON.stringify(total)}\n`, () => process.exit(0));
