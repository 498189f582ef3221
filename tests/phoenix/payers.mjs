// Many official Phoenix clients, each with an account of its own, for tests of a cluster (`tests/tests/nodes/phoenix.rs`). Each pays one
// into its account again and again. They have the delays that phoenix.js has by itself. Lines on standard input say what else happens:
//
//   speak   the first ones, the speakers, also broadcast, again and again
//   hush    they stop. When nothing is unanswered and all clients are back, a line of JSON says what has happened since `speak`
//   end     all stop to pay. When nothing is unanswered, a line of JSON says what has happened in all, and the program ends
//
//   node payers.mjs ws://HOST:PORT/socket CLIENTS SPEAKERS

import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { Socket } from "phoenix";
import { WebSocket } from "ws";

const url = process.argv[2];
const [clients, speakers] = process.argv.slice(3).map(Number);

/** The pauses of each client between two payments, and between two broadcasts. */
const PAY_EVERY_MS = 2_000;
const SPEAK_EVERY_MS = 500;

const total = { acknowledged: 0, unknown: 0 };
let isPaying = true;
let unanswered = 0;

/** What happens from one `speak` to the next one. The speakers broadcast while `isSpeaking` is true. */
let round = newRound(false);

function newRound(isSpeaking) {
  return { isSpeaking, unanswered: 0, unknown: 0, spoken: [], aways: [], joinsBySecond: new Map() };
}

/** Connects a client, and lets it pay. */
function client(number) {
  const socket = new Socket(url, { transport: WebSocket });
  const topic = `ledger:${number}`;
  const channel = socket.channel(topic);
  const member = { account: `client-${number}`, channel, hasJoined: false, awaySince: null };
  // Before the first join, there is nothing to be away from.
  const lost = () => {
    if (member.hasJoined) member.awaySince ??= Date.now();
  };
  socket.onClose(lost);
  channel.onError(lost);
  socket.connect();
  channel.join().receive("ok", () => {
    if (member.awaySince !== null) noteReturn(Date.now() - member.awaySince);
    [member.hasJoined, member.awaySince] = [true, null];
  });
  setTimeout(() => pay(member), (number * PAY_EVERY_MS) / clients);
  return member;
}

function noteReturn(away) {
  const second = Math.floor(Date.now() / 1000);
  round.joinsBySecond.set(second, (round.joinsBySecond.get(second) ?? 0) + 1);
  round.aways.push(away);
}

/** Sends something that changes the store. Calls `told` with the answer, or `untold` if nobody knows whether it is stored. */
function ask({ channel }, event, payload, told, untold) {
  channel.push(event, payload).receive("ok", told).receive("error", untold).receive("timeout", untold);
}

function pay(member) {
  if (!isPaying) return;
  unanswered += 1;
  const answered = (count) => () => {
    unanswered -= 1;
    total[count] += 1;
    setTimeout(() => pay(member), PAY_EVERY_MS);
  };
  ask(member, "deposit", { to: member.account, n: 1 }, answered("acknowledged"), answered("unknown"));
}

/** Moves nothing from an account to itself: the plugin broadcasts each transfer, and answers with its id. */
function speak(member, during) {
  if (!during.isSpeaking) return;
  during.unanswered += 1;
  const answered = (note) => (response) => {
    during.unanswered -= 1;
    note(response);
    setTimeout(() => speak(member, during), SPEAK_EVERY_MS);
  };
  const told = answered(({ entry }) => during.spoken.push(entry));
  const untold = answered(() => (during.unknown += 1));
  ask(member, "transfer", { from: member.account, to: member.account, n: 0 }, told, untold);
}

const say = (value) => new Promise((said) => process.stdout.write(`${JSON.stringify(value)}\n`, said));

const members = Array.from({ length: clients }, (_, number) => client(number));
const isAway = ({ hasJoined, awaySince }) => !hasJoined || awaySince !== null;

for await (const line of createInterface({ input: process.stdin })) {
  if (line === "speak") {
    round = newRound(true);
    for (const member of members.slice(0, speakers)) speak(member, round);
  } else if (line === "hush") {
    round.isSpeaking = false;
    while (round.unanswered > 0 || members.some(isAway)) await pause(20);
    const aways = round.aways.sort((one, other) => one - other);
    await say({
      spoken: round.spoken,
      unknown: round.unknown,
      rejoins: aways.length,
      most_rejoins_in_a_second: Math.max(0, ...round.joinsBySecond.values()),
      median_away_ms: aways[aways.length >> 1] ?? 0,
      longest_away_ms: aways.at(-1) ?? 0,
    });
  } else if (line === "end") {
    isPaying = false;
    while (unanswered > 0) await pause(20);
    await say(total);
    process.exit(0);
  }
}
