// The page: who we are, what came, and how it is shown.
//
// Whatever was sent enters the page as text, never as HTML.

import { Inbox } from "./inbox.js";
import { card, face, mark, tell } from "./item.js";

const $ = (id) => document.getElementById(id);
/** How long a toast stays, and how often times such as “5 minutes ago” are looked at. */
const TOAST = 6_000;
const TIMES = 15_000;
const STALE = "Its time is over, or it was made elsewhere. The start page has a new one.";

let inbox;

// --- who we are ---

/** The user and its token: from the link that led here, or else as this tab knows them. */
function who() {
  const link = new URLSearchParams(location.hash.slice(1));
  if (link.has("token")) {
    sessionStorage.setItem("who", JSON.stringify({ user: link.get("user") ?? "", token: link.get("token") }));
    // It isn't shown any longer than it has to be, nor kept in the history.
    history.replaceState(null, "", location.pathname);
  }
  return JSON.parse(sessionStorage.getItem("who") ?? "null");
}

function enter({ user, token }) {
  const name = user.charAt(0).toUpperCase() + user.slice(1);
  $("inbox").hidden = false;
  $("name").textContent = name;
  face(name, $("face"));
  $("tab").href = `#${new URLSearchParams({ user, token })}`;
  showCommand(user);
  inbox = new Inbox({ user, token }, { changed: draw, arrived });
  draw();
}

function close(title, why) {
  document.title = "Notifications · Bennu";
  $("inbox").hidden = true;
  $("closed").hidden = false;
  $("closed-title").textContent = title;
  $("closed-why").textContent = why;
}

addEventListener("hashchange", () => {
  if (location.hash.includes("token=")) location.reload();
});

// --- the command to try ---

async function showCommand(user) {
  const demo = await fetch("../demo.json").then((answer) => (answer.ok ? answer.json() : {})).catch(() => ({}));
  const usual = location.host === "127.0.0.1:4000" ? "" : ` --host ${location.host}`;
  const send = demo.send ?? `bennu send${usual}`;
  const quoted = /^[\w.-]+$/.test(user) ? user : `'${user.replaceAll("'", `'\\''`)}'`;
  $("command").textContent = `${send} user:${quoted} notify '{"title": "Hello", "body": "From a terminal"}'`;
}

$("copy").addEventListener("click", async () => {
  const copied = await navigator.clipboard?.writeText($("command").textContent).then(() => true, () => false);
  // Where the browser doesn't let us, the text is at least marked.
  if (!copied) getSelection().selectAllChildren($("command"));
  $("copy").lastElementChild.textContent = copied ? "Copied" : "Marked";
  setTimeout(() => ($("copy").lastElementChild.textContent = "Copy"), 2_000);
});

// --- what is done ---

$("list").addEventListener("click", (event) => {
  const id = event.target.closest("[data-id]")?.dataset.id;
  const notification = inbox.list.find((each) => each.id === id);
  if (!notification || notification.read || !event.target.closest("a, button")) return;
  if (inbox.state !== "connected") return;
  // Its button goes away, and the keyboard's place shall not.
  if (event.target.closest("button")) neighbour(event.target.closest("li")).focus();
  inbox.read(id);
});

$("read-all").addEventListener("click", () => {
  $("title").focus();
  inbox.readAll();
});

$("older").addEventListener("click", async () => {
  const last = $("list").lastElementChild;
  $("older").disabled = true;
  await inbox.older();
  $("older").disabled = false;
  if ($("older").hidden) (last?.nextElementSibling ?? last)?.focus();
});

/** Where to go on from an item that needs no more: to the next unread one's button, or else to the item. */
function neighbour(item) {
  const unread = [...$("list").querySelectorAll(".unread")];
  const next = unread[unread.indexOf(item) + 1] ?? unread[unread.indexOf(item) - 1];
  return next?.querySelector("button") ?? item;
}

$("list").addEventListener("keydown", (event) => {
  const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  const item = event.target.closest("li");
  if (!step || !item?.[step] || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  item[step].focus();
});

// --- what is seen ---

function draw() {
  const { state, unread, list, more } = inbox;
  if (state === "stale") return close("This link is no longer good", STALE);
  if (state === "refused") return close("This door stays closed", sentence(inbox.reason));
  document.documentElement.dataset.connection = state;
  document.title = `${unread ? `(${unread}) ` : ""}Notifications · Bennu`;
  put("connection", { connecting: "Connecting", connected: "Connected", reconnecting: "Reconnecting" }[state]);
  // What has come while the connection is away, nobody knows.
  const isLive = more !== undefined && state === "connected";
  put("unread", unread > 0 ? `${unread} unread` : !isLive ? "" : list.length > 0 ? "All read" : "Nothing yet");
  $("badge").hidden = unread === 0;
  $("badge").textContent = unread > 99 ? "99+" : unread;
  $("read-all").disabled = unread === 0 || state !== "connected";
  $("empty").hidden = !isLive || list.length > 0;
  $("older").hidden = !more;
  drawList(list);
}

/** An element stays as long as its notification, or the keyboard's focus would get lost. */
function drawList(list) {
  const there = new Map([...$("list").children].map((item) => [item.dataset.id, item]));
  let before = null;
  for (const notification of [...list].reverse()) {
    const item = there.get(notification.id) ?? card(notification);
    there.delete(notification.id);
    mark(item, notification, inbox.state === "connected");
    // The Tab key leads to the list, and the arrows within it.
    item.tabIndex = notification === list[0] ? 0 : -1;
    if (item.nextElementSibling !== before || !item.isConnected) $("list").insertBefore(item, before);
    before = item;
  }
  for (const item of there.values()) item.remove();
}

/** Set only when it differs: screen readers say whatever is set. */
function put(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

/** Says that something has come: as a toast, which screen readers say too. */
function arrived(notifications) {
  const [first, ...others] = notifications;
  const toast = document.createElement("div");
  toast.className = "toast";
  const title = document.createElement("strong");
  title.textContent = others.length > 0 ? `${notifications.length} came while you were away` : first.title;
  const body = document.createElement("span");
  body.textContent = others.length > 0 ? first.title : first.body;
  toast.append(title, body);
  toast.addEventListener("click", () => toast.remove());
  $("toasts").append(toast);
  while ($("toasts").childElementCount > 3) $("toasts").firstElementChild.remove();
  setTimeout(() => toast.remove(), TOAST);
  $("bell").classList.remove("rings");
  requestAnimationFrame(() => $("bell").classList.add("rings"));
}

addEventListener("keydown", (event) => {
  if (event.key === "Escape") $("toasts").replaceChildren();
});

function tellTimes() {
  for (const time of document.querySelectorAll("#list time")) tell(time);
}
setInterval(tellTimes, TIMES);
// A tab in the background is woken seldom.
document.addEventListener("visibilitychange", tellTimes);

function sentence(words) {
  const text = words.trim() || "it gave no reason";
  return `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}

const known = who();
if (known) enter(known);
else close("Who are you?", "A link on the start page says it, and shows you what came for you.");
