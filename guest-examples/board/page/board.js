// The page: the user, the place, the board, and the controls around it.
//
// The address says which board it is, and with which link it was opened: `#ID`, `#ID/draw/TOKEN` or `#ID/look/TOKEN`. Browsers send
// this part of an address to no server. The user's name and key stay in this browser.

import { Socket } from "./phoenix.mjs";
import { Ink } from "./ink.js";
import { make, put } from "./make.js";
import { Over } from "./over.js";
import { Paper } from "./paper.js";
import { Pen } from "./pen.js";
import { showPeople } from "./people.js";
import { Session } from "./session.js";
import { openLinks, sentence } from "./share.js";
import { Tools } from "./tools.js";
import { View } from "./view.js";

const $ = (id) => document.getElementById(id);
/** The pace of our cursor, in milliseconds, and the time that a note is shown. */
const PACE = 50;
const NOTE = 5_000;
/** The smallest distance of two points of a line, in pixels. */
const LEAST = 1.4;

const user = { name: localStorage.getItem("board-name") ?? "", key: localStorage.getItem("board-key") ?? secret() };
const { id, role, token } = place();
const socket = new Socket("/socket");
const dark = matchMedia("(prefers-color-scheme: dark)");
const theme = () => (dark.matches ? "dark" : "light");
let session;

function secret() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const text = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  localStorage.setItem("board-key", text);
  return text;
}

/** The board in the address, or a new one. */
function place() {
  const [id, role, token] = location.hash.slice(1).split("/");
  if (id) return { id, role, token };
  const letters = crypto.getRandomValues(new Uint8Array(12));
  const fresh = [...letters].map((letter) => (letter % 36).toString(36)).join("");
  history.replaceState(null, "", `#${fresh}`);
  return { id: fresh };
}

// --- the board ---

const view = new View(() => {
  put($("percent"), `${view.percent} %`);
  const grid = 32 * view.scale * 2 ** Math.ceil(-Math.log2(view.scale * 1.4));
  $("stage").style.backgroundSize = `${grid}px ${grid}px`;
  $("stage").style.backgroundPosition = `${-view.x * view.scale}px ${-view.y * view.scale}px`;
  paper.moved();
  over.again();
});

const layers = [...document.querySelectorAll("#stage > .layer:not(#over)")];
const over = new Over($("over"), view);
const paper = new Paper(layers, view, {
  /** All strokes are read, and nothing is drawn yet. */
  first: () => view.fit(paper.box),
  done: () => {
    // After the next frame, the drawing is also to be seen. Measurements read the mark.
    if ($("house").dataset.drawn === undefined) requestAnimationFrame(() => setTimeout(() => performance.mark("board-drawn")));
    $("house").dataset.drawn = paper.count;
    $("empty").hidden = paper.count > 0 || ink.strokes.size > 0;
    settle();
  },
});

const ink = new Ink((event, payload) => session?.push(event, payload), {
  changed: () => settle(),
  refused: (reason) => note(sentence(reason)),
});

/** Drops those of our strokes that the paper has, and shows the others. */
function settle() {
  const before = ink.strokes.size;
  ink.settle((id, pieces) => paper.has(`stroke/${id}`, pieces));
  if (ink.strokes.size < before && session?.me) session.me.undo += before - ink.strokes.size;
  if (ink.strokes.size > 0) $("empty").hidden = true;
  over.show(ink.strokes);
  showTools();
}

new ResizeObserver(([{ contentRect: { width, height } }]) => {
  if (width > 0 && height > 0) view.resize(width, height);
}).observe($("stage"));

function paint() {
  paper.paint(theme());
  over.paint(theme());
  tools.paint(theme());
}
dark.addEventListener("change", paint);

// --- the pointers ---

let cursor;
let sent = 0;
let timer;

/** Sends our cursor, at most twenty times a second. Without a place it is hidden. */
function point(at) {
  if (session?.me?.role !== "draw") return;
  cursor = at;
  timer ??= setTimeout(() => {
    timer = undefined;
    sent = performance.now();
    session.push("cursor", { x: cursor?.[0] ?? null, y: cursor?.[1] ?? null });
  }, Math.max(0, sent + PACE - performance.now()));
}

const isOurs = () => session?.isJoined && session.me.role === "draw";
const pen = new Pen($("stage"), view, {
  moves: () => session?.me?.role !== "draw" || tools.tool === "hand",
  begin: (...pixel) => {
    if (isOurs()) ink.begin(tools.color, tools.width, view.at(...pixel));
    return isOurs();
  },
  add: (...pixel) => ink.add(view.at(...pixel), LEAST / view.scale),
  end: () => ink.end(),
  cancel: () => ink.cancel(),
  hover: (...pixel) => point(view.at(...pixel)),
  leave: () => point(undefined),
});

// --- the controls ---

const tools = new Tools({ changed: ({ tool }) => $("stage").classList.toggle("hand", tool === "hand") });

async function undo() {
  if ($("undo").disabled) return;
  const { answer, reason } = await session.ask("undo");
  session.me.undo = answer?.undo ?? 0;
  if (reason) note(sentence(reason));
  showTools();
}

$("undo").addEventListener("click", undo);
$("clear").addEventListener("click", () => $("sure").showModal());
$("clear-now").addEventListener("click", async () => {
  $("sure").close();
  const { reason } = await session.ask("clear");
  if (reason) note(sentence(reason));
});
$("share").addEventListener("click", async () => {
  const reason = await openLinks(session, id, role);
  if (reason) note(sentence(reason));
});
for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}

const zooms = { "zoom-in": 1.25, "zoom-out": 0.8 };
for (const [name, factor] of Object.entries(zooms)) $(name).addEventListener("click", () => view.zoom(factor));
$("zoom-all").addEventListener("click", () => view.fit(paper.box));

const KEYS = {
  "+": () => view.zoom(1.25),
  "=": () => view.zoom(1.25),
  "-": () => view.zoom(0.8),
  0: () => view.fit(paper.box),
  ArrowLeft: () => view.move(80, 0),
  ArrowRight: () => view.move(-80, 0),
  ArrowUp: () => view.move(0, 80),
  ArrowDown: () => view.move(0, -80),
  p: () => tools.choose("tool", "pen"),
  h: () => tools.choose("tool", "hand"),
};

addEventListener("keydown", (event) => {
  if ($("house").hidden || document.querySelector("dialog[open]")) return;
  if ((event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z") {
    event.preventDefault();
    return undo();
  }
  // Another control has some of these keys for itself.
  if (event.ctrlKey || event.metaKey || event.altKey || ![$("stage"), document.body].includes(document.activeElement)) return;
  const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

// --- the state of the page ---

let noteTimer;

/** Shows a note for some seconds. */
function note(text) {
  clearTimeout(noteTimer);
  put($("note"), text);
  noteTimer = setTimeout(() => put($("note"), ""), NOTE);
}

function showTools() {
  const { me, isJoined } = session ?? {};
  $("undo").disabled = !isJoined || ink.isDrawing || ink.strokes.size > 0 || !(me?.undo > 0);
  for (const action of ["share", "clear"]) $(action).disabled = !isJoined;
}

function show() {
  const { me, members, isJoined } = session;
  const isConnected = isJoined || !me;
  document.documentElement.dataset.connection = isJoined ? "connected" : me ? "reconnecting" : "connecting";
  put($("connection"), isConnected ? "" : "Reconnecting … You can draw again in a moment.");
  showPeople(members, me);
  over.keep((id) => members.some((member) => member.id === id));
  showTools();
  if (!me) return;
  $("tools").hidden = me.role !== "draw";
  $("me").hidden = me.role !== "draw";
  $("watching").hidden = me.role === "draw";
  $("clear").hidden = !me.owner;
  $("stage").classList.toggle("watched", me.role !== "draw");
  put($("empty-how"), me.role === "draw" ? "Draw something. Everybody on this board sees it." : "Nobody has drawn anything yet.");
}

function enter() {
  $("welcome").hidden = true;
  $("house").hidden = false;
  tools.greet(user.name);
  const params = role === "look" ? { token } : { ...user, token };
  session = new Session(socket, `board:${id}`, params, {
    joined: () => {
      show();
      ink.again();
    },
    changed: () => {
      if (!session.isJoined) {
        // A stroke can't go on without a connection. Its pieces are sent when the page has joined again.
        pen.stop();
      }
      show();
    },
    strokes: (room, patch) => paper.take((key) => room.get(key), patch ? Object.keys(patch) : room.keys(), patch === null),
    cursor: ({ id, x, y }) => {
      const member = session.members.find((member) => member.id === id);
      if (member) over.point(id, member.name, x, y);
    },
    cleared: (name) => {
      session.me.undo = 0;
      note(`${name} has cleared the board.`);
      show();
    },
    refused: (reason) => {
      $("house").hidden = true;
      $("refused").hidden = false;
      put($("reason"), sentence(reason));
    },
  });
  show();
}

function welcome() {
  session?.leave();
  ink.clear();
  $("house").hidden = true;
  $("welcome").hidden = false;
  $("name").value = user.name;
  $("name").focus();
  $("name").select();
}

$("me").addEventListener("click", welcome);
$("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("name").value.trim();
  if (!name) return;
  user.name = name;
  localStorage.setItem("board-name", name);
  enter();
});
// Another address is another board, or another link to this one.
addEventListener("hashchange", () => location.reload());

paint();
socket.connect();
if (role === "look" || user.name) enter();
else welcome();
