// The page: the user, the place (the lobby or a game), and the elements around a game.
//
// The name and the key of our seat are stored for this window only: two windows are two users, and a window that is loaded
// again is the same user.

import { Socket } from "./phoenix.mjs";
import { Arena, colour } from "./arena.js";
import { Four, SIDES } from "./four.js";
import { Lobby, fresh, kind } from "./lobby.js";
import { hue, initial, make, put } from "./make.js";
import { Play } from "./play.js";

const $ = (id) => document.getElementById(id);
const SEATS = { four: 2, arena: 8 };
const socket = new Socket("/socket");
const key = sessionStorage.getItem("key") ?? secret();
let user = sessionStorage.getItem("user") ?? "";
let lobby;
let play;
/** Draws the current game. */
let view;

function secret() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const text = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  sessionStorage.setItem("key", text);
  return text;
}

// --- the connection ---

/** The close code of a host that stops and is started again. */
const RESTART = 1012;
/** Whether the host sent this code. If a connection is lost in another way, the reason is unknown. */
let isRestarting = false;

socket.onOpen(() => {
  isRestarting = false;
  connected("connected");
});
socket.onClose((event) => {
  if (event?.code === RESTART) isRestarting = true;
  connected("reconnecting");
  // The channels' callbacks have run before this one.
  if (play) draw(play);
});
socket.onError(() => connected(document.documentElement.dataset.connection === "connecting" ? "connecting" : "reconnecting"));

function connected(state) {
  document.documentElement.dataset.connection = state;
  put($("connection"), { connecting: "Connecting", connected: "Connected", reconnecting: "Reconnecting" }[state]);
}

// --- the name ---

function welcome() {
  leave();
  $("house").hidden = true;
  $("welcome").hidden = false;
  $("name").value = user;
  $("name").focus();
  $("name").select();
}

function enter() {
  $("welcome").hidden = true;
  $("house").hidden = false;
  put($("my-name"), user);
  put($("my-face"), initial(user));
  $("my-face").style.setProperty("--hue", hue(user));
  go();
}

$("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("name").value.trim();
  if (!name) return;
  user = name;
  sessionStorage.setItem("user", user);
  enter();
});

$("rename").addEventListener("click", welcome);

// --- the place ---

/** The topic in the address; without a topic the place is the lobby. */
function current() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

function leave() {
  const left = { lobby, play, view };
  // First, because a channel that closes causes drawing.
  lobby = play = view = undefined;
  left.lobby?.leave();
  left.play?.leave();
  left.view?.end();
}

/** Shows the place in the address. */
function go() {
  leave();
  const topic = current();
  show(kind(topic) ? "game" : "lobby");
  if (!kind(topic)) {
    document.title = "Games · Bennu";
    lobby = new Lobby(socket);
    $("lobby-title").focus({ preventScroll: true });
    return;
  }
  put($("title"), kind(topic));
  $("game").dataset.kind = topic.split(":")[0];
  $("players").replaceChildren();
  play = new Play(socket, topic, { name: user, key }, draw);
  view = topic.startsWith("four:") ? new Four($("scene"), play) : new Arena($("scene"), play);
  put($("how"), "");
  draw(play);
  $("title").focus({ preventScroll: true });
}

function show(place) {
  for (const id of ["lobby", "game", "refused"]) $(id).hidden = id !== place;
}

addEventListener("hashchange", () => user && !$("house").hidden && go());

for (const button of document.querySelectorAll("[data-new]")) {
  button.addEventListener("click", () => (location.hash = fresh(button.dataset.new)));
}

// --- leaving ---

/** A player who leaves a match of two loses it, so the page asks first. */
$("leave").addEventListener("click", (event) => {
  if (!view || play.seat == null || play.state?.phase !== "playing" || SEATS[$("game").dataset.kind] > 2) return;
  event.preventDefault();
  $("sure").showModal();
});

$("stay").addEventListener("click", () => $("sure").close());
$("go").addEventListener("click", () => {
  $("sure").close();
  location.hash = "";
});

// --- actions ---

$("again").addEventListener("click", () => play.ask("again"));
$("resign").addEventListener("click", () => play.ask("resign"));
$("sit").addEventListener("click", async () => {
  const asked = play;
  await asked.sit();
  draw(asked);
});

$("share").addEventListener("click", async () => {
  const copied = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
  // If the browser doesn't allow copying, the user can copy the address.
  put($("share").lastElementChild, copied ? "Link copied" : "Copy the address");
  setTimeout(() => put($("share").lastElementChild, "Invite"), 2_500);
});

// --- drawing ---

/** The consequence of a lost connection. Without a close code the page can't know whether the host still runs. */
const LOST = {
  restarting: "The server is restarting. This game ends with it.",
  watching: "If the game still runs, you will continue to watch.",
  playing: "If the game still runs, your seat is kept for twenty seconds.",
};

/** What happened to the game while this window was disconnected. */
const NEWS = {
  anew: "The server has restarted, and this is a new game.",
  gone: "Your seat was given up: you were away for more than twenty seconds.",
};

function draw(drawn) {
  if (drawn !== play) return; // a game that this window has left
  const { state, seat, isJoined, refused } = play;
  if (refused !== undefined) {
    leave();
    show("refused");
    return put($("reason"), sentence(refused));
  }
  $("lost").hidden = isJoined || !state;
  put($("kept"), LOST[isRestarting ? "restarting" : seat === null ? "watching" : "playing"]);
  put($("news"), NEWS[play.news] ?? "");
  $("news").hidden = !play.news;
  if (!state || seat === undefined) return put($("status"), "Joining …");
  const seats = SEATS[$("game").dataset.kind];
  const ours = state.players[seat];
  const text = view.say(state, seat);
  view.draw(state, seat);
  drawPlayers(state, seat);
  // While the connection is lost, the page shows the last state, and no action is possible.
  put($("status"), isJoined ? (waits(state, ours) ?? text) : "This is the state from before the connection was lost.");
  put($("how"), isJoined ? view.how(state, seat) : "");
  document.title = `${isJoined ? text.split(/[.!…]/)[0] : "Reconnecting"} · Bennu`;
  $("game").dataset.phase = state.phase;
  $("game").classList.toggle("watched", seat === null);
  $("watching").hidden = !isJoined || seat !== null;
  $("sit").hidden = Object.keys(state.players).length >= seats;
  $("again").hidden = !isJoined || state.phase !== "over" || !ours || ours.again || Object.keys(state.players).length < 2;
  $("resign").hidden = !isJoined || state.phase !== "playing" || !ours || seats > 2;
}

/** The status of a player who waits for the others to play again. */
function waits({ phase, players }, ours) {
  if (phase !== "over" || !ours) return undefined;
  const others = Object.values(players).filter((player) => player !== ours);
  if (others.length === 0) return "You are alone here. Invite somebody, or wait.";
  if (ours.again) return `Waiting for ${others.filter(({ again }) => !again).map(({ name }) => name).join(" and ")} …`;
  const asked = others.filter(({ again }) => again).map(({ name }) => name);
  return asked.length > 0 ? `${asked.join(" and ")} would like to play again.` : undefined;
}

function drawPlayers(state, seat) {
  const isFour = SEATS[$("game").dataset.kind] === 2;
  const seats = Object.keys(state.players).sort((one, other) =>
    isFour ? one - other : state.players[other].score - state.players[one].score || one - other,
  );
  const there = new Map([...$("players").children].map((item) => [item.dataset.seat, item]));
  seats.forEach((at, place) => {
    const item = there.get(at) ?? playerItem(at, isFour);
    there.delete(at);
    const { name, here, again, score } = state.players[at];
    item.classList.toggle("away", !here);
    item.classList.toggle("turn", isFour && state.phase === "playing" && state.turn === Number(at));
    put(item.querySelector(".name"), Number(at) === seat ? `${name} (you)` : name);
    put(item.querySelector(".score"), String(score));
    const note = here ? (state.phase === "over" && again ? "again!" : "") : "away";
    put(item.querySelector(".note"), note);
    if ($("players").children[place] !== item) $("players").insertBefore(item, $("players").children[place] ?? null);
  });
  for (const item of there.values()) item.remove();
}

function playerItem(seat, isFour) {
  const item = make("li");
  item.dataset.seat = seat;
  const sign = make("span", `token ${isFour ? SIDES[seat] : ""}`);
  if (!isFour) sign.style.background = colour(seat);
  item.append(sign, make("span", "name"), make("span", "note"), make("strong", "score"));
  return item;
}

function sentence(words) {
  const text = words.trim() || "the server gave no reason";
  return `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}

connected("connecting");
socket.connect();
if (user) enter();
else welcome();
