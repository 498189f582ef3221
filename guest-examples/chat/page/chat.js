// The page: the user, the rooms, and the room that is shown.
//
// Rooms that were entered stay joined while another room is shown, so that the page can count their unread messages. The name
// is stored for this window only: two windows are two users. The key is stored for the browser. Name and key together
// identify the author of messages, also after a return to the page.

import { Socket } from "./phoenix.mjs";
import { Composer } from "./composer.js";
import { face, make, sentence } from "./line.js";
import { Log } from "./log.js";
import { Room } from "./room.js";

/** The rooms that are offered to every user. */
const OFFERED = ["lobby", "garden", "kitchen"];
const HOME = OFFERED[0];
/** The number of faces next to a room's name; the page shows the number of the others. */
const FACES = 5;

const $ = (id) => document.getElementById(id);
const socket = new Socket("/socket");
/** The rooms that this window has joined, each with its log. */
const entered = new Map();
const composer = new Composer({
  said: (log) => log.follow(),
  editing: (room) => draw(room),
});
let offered = [...new Set([...OFFERED, ...JSON.parse(sessionStorage.getItem("chat-rooms") ?? "[]")])];
let user = sessionStorage.getItem("chat-user") ?? "";
let connection = "connecting";

// --- the connection ---

socket.onOpen(() => connected("connected"));
socket.onClose(() => connected("reconnecting"));
socket.onError(() => connected(connection === "connecting" ? "connecting" : "reconnecting"));

function connected(state) {
  connection = state;
  document.documentElement.dataset.connection = state;
  $("connection").textContent = { connecting: "Connecting", connected: "Connected", reconnecting: "Reconnecting" }[state];
}

// --- the name ---

function welcome() {
  document.title = "Bennu chat";
  $("chat").hidden = true;
  $("welcome").hidden = false;
  $("name").value = user;
  $("name").focus();
  $("name").select();
}

function enter() {
  $("welcome").hidden = true;
  $("chat").hidden = false;
  $("my-name").textContent = user;
  face(user, $("my-face"));
  go(current());
}

$("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("name").value.trim();
  if (!name) return;
  user = name;
  sessionStorage.setItem("chat-user", user);
  enter();
});

$("rename").addEventListener("click", () => {
  for (const name of [...entered.keys()]) leave(name);
  welcome();
});

/** The secret by which the plugin recognizes this browser's messages. Other clients never get it. */
function key() {
  const kept = localStorage.getItem("chat-key");
  if (kept) return kept;
  const bytes = [...crypto.getRandomValues(new Uint8Array(16))];
  const made = bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("");
  localStorage.setItem("chat-key", made);
  return made;
}

// --- the rooms ---

/** The room that is shown: its name is in the address. */
function current() {
  try {
    return decodeURIComponent(location.hash.slice(1)) || HOME;
  } catch {
    return HOME;
  }
}

/** Shows a room, and joins it if this window hasn't joined it yet. */
function go(name) {
  if (current() !== name) {
    location.hash = encodeURIComponent(name);
    return; // the event `hashchange` calls `go` again
  }
  if (!offered.includes(name)) offer([...offered, name]);
  if (!entered.has(name)) {
    const room = new Room(socket, name, { user, key: key() }, { changed: draw, caughtUp });
    const log = new Log(room, { edit: (message) => composer.edit(message), scrolled: () => looked(room) });
    entered.set(name, { room, log });
    $("logs").append(log.element);
  }
  for (const other of entered.values()) {
    other.log.element.hidden = other.room.name !== name;
    // Its new messages have been read.
    if (other.room.name !== name && other.room.unread === 0) other.room.divider = undefined;
  }
  const { room, log } = entered.get(name);
  composer.turn(room, log);
  log.render();
  log.open();
  looked(room);
  draw(room);
  if (matchMedia("(hover: hover)").matches) $("body").focus();
}

function leave(name) {
  const { room, log } = entered.get(name);
  entered.delete(name);
  composer.forget(room);
  log.element.remove();
  room.leave();
}

function offer(rooms) {
  offered = rooms;
  sessionStorage.setItem("chat-rooms", JSON.stringify(rooms.filter((name) => !OFFERED.includes(name))));
}

addEventListener("hashchange", () => user && !$("chat").hidden && go(current()));

$("make").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("room").value.trim().toLowerCase().replace(/\s+/g, "-");
  if (!name) return;
  $("room").value = "";
  go(name);
});

$("leave").addEventListener("click", () => {
  const name = current();
  leave(name);
  if (!OFFERED.includes(name)) offer(offered.filter((other) => other !== name));
  go([...entered.keys()][0] ?? OFFERED.find((other) => other !== name));
});

$("elsewhere").addEventListener("click", () => {
  const name = current();
  leave(name);
  if (!OFFERED.includes(name)) offer(offered.filter((other) => other !== name));
  if (name === HOME) welcome();
  else go(HOME);
});

$("again").addEventListener("click", () => {
  leave(current());
  go(current());
});

addEventListener("keydown", (event) => {
  if (!event.altKey || !["ArrowUp", "ArrowDown"].includes(event.key) || $("chat").hidden) return;
  event.preventDefault();
  const step = event.key === "ArrowDown" ? 1 : offered.length - 1;
  go(offered[(offered.indexOf(current()) + step) % offered.length]);
});

// --- what is seen ---

/** Marks the visible messages as read, if the user can see them. */
function looked(room) {
  const here = entered.get(room.name);
  if (here?.room !== room || room.name !== current()) return;
  if (here.log.followed && document.visibilityState === "visible" && room.state === "joined") room.see();
  drawRooms();
  drawLatest(room, here.log);
}

/** A join has brought the missed messages. */
function caughtUp(room) {
  const here = entered.get(room.name);
  if (here?.room !== room) return;
  const { followed } = here.log;
  here.log.render();
  if (followed && room.name === current()) here.log.open();
  looked(room);
  draw(room);
}

document.addEventListener("visibilitychange", () => {
  const room = entered.get(current())?.room;
  if (!room) return;
  if (document.visibilityState === "hidden" && room.unread === 0) room.divider = undefined;
  looked(room);
  draw(room);
});

$("latest").addEventListener("click", () => {
  const { room, log } = entered.get(current());
  log.follow();
  looked(room);
  $("body").focus();
});

function draw(room) {
  const here = entered.get(room.name);
  if (here?.room !== room) return; // a room that this window has left
  looked(room);
  // Messages that came while the room wasn't visible are new.
  if (room.unread > 0) room.divider = room.read;
  here.log.render();
  drawRooms();
  if (room.name === current()) drawRoom(room);
}

function drawRoom(room) {
  const refused = room.state === "refused" || room.state === "closed";
  const news = $("conversation").dataset.state !== room.state;
  $("conversation").dataset.state = room.state;
  $("room-name").textContent = room.name;
  $("room-state").textContent = { joining: "Joining …", rejoining: "Joining again …" }[room.state] ?? "";
  $("refused").hidden = !refused;
  entered.get(room.name).log.element.hidden = refused;
  $("write").hidden = refused;
  $("leave").hidden = refused;
  $("reason").textContent = room.state === "closed" ? "The room was closed." : sentence(room.reason, "The server gave no reason");
  $("elsewhere").textContent = room.name === HOME ? "Choose another name" : `Go to the ${HOME}`;
  // Without a connection the list of people is unknown.
  drawPeople(room.state === "joined" ? room.people : []);
  drawTyping([...room.typing.keys()]);
  // The field that had the focus is hidden now.
  if (refused && news) $("elsewhere").focus();
}

function drawLatest(room, log) {
  $("latest").hidden = log.followed || room.state === "refused" || room.state === "closed";
  $("latest").querySelector("span").textContent = room.unread > 0 ? "New messages" : "To the newest";
}

function drawRooms() {
  const unread = [...entered.values()].reduce((sum, { room }) => sum + room.unread, 0);
  document.title = `${unread ? `(${unread}) ` : ""}${current()} · Bennu chat`;
  const links = [...$("rooms").querySelectorAll("a")];
  // A room's link stays the same element, so that it keeps the keyboard's focus.
  if (links.map((link) => link.dataset.room).join("/") !== offered.join("/")) {
    $("rooms").replaceChildren(...offered.map(roomLink));
  }
  for (const link of $("rooms").querySelectorAll("a")) drawLink(link, entered.get(link.dataset.room)?.room);
}

function roomLink(name) {
  const item = make("li");
  const link = make("a");
  link.dataset.room = name;
  link.href = `#${encodeURIComponent(name)}`;
  link.append(make("span", "name", name), make("span", "unread"));
  item.append(link);
  return item;
}

function drawLink(link, room) {
  const unread = room?.unread ?? 0;
  const count = link.querySelector(".unread");
  if (link.dataset.room === current()) link.setAttribute("aria-current", "page");
  else link.removeAttribute("aria-current");
  link.classList.toggle("entered", room?.state === "joined");
  link.classList.toggle("refused", room?.state === "refused");
  count.hidden = unread === 0;
  count.textContent = unread > 99 ? "99+" : unread;
  count.setAttribute("aria-label", `${unread} unread`);
}

function drawPeople(people) {
  const names = people.map((name) => (name === user ? `${name} (you)` : name));
  const list = $("people");
  if (list.title === names.join(", ")) return;
  list.title = names.join(", ");
  const shown = people.length > FACES + 1 ? FACES : people.length;
  const items = people.slice(0, shown).map((name, at) => {
    const item = make("li");
    item.append(face(name), make("span", "unseen", names[at]));
    return item;
  });
  if (people.length > shown) items.push(make("li", "others", `+${people.length - shown}`));
  list.replaceChildren(...items);
}

function drawTyping(users) {
  const names = users.length > 2 ? "Several people" : users.join(" and ");
  const text = users.length === 0 ? "" : `${names} ${users.length > 1 ? "are" : "is"} typing`;
  // Set only if the text differs: a screen reader reads each text that is set.
  if ($("typing").textContent === text) return;
  const dots = make("span", "dots");
  dots.append(make("i"), make("i"), make("i"));
  $("typing").replaceChildren(...(text ? [dots, make("span", "", text)] : []));
}

connected("connecting");
socket.connect();
if (user) enter();
else welcome();
