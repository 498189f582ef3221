// The page: the user, the notifications, and the elements that show them.
//
// The content of notifications is inserted as text, never as HTML.

import { Inbox } from "./inbox.js";
import { card, face, mark, tell } from "./item.js";
import { Push } from "./push.js";

const $ = (id) => document.getElementById(id);
/** The duration of a toast, and the interval at which times such as “5 minutes ago” are updated. */
const TOAST = 6_000;
const TIMES = 15_000;
const STALE = "It has expired, or another host made it. The start page has a new link.";

/** The texts of the button for push messages, and of the line below it, in each state. */
const PUSH = {
  off: ["Notify this browser", "It then shows a message, although this page is closed."],
  on: ["Stop notifying", "This browser shows a message if you have no page open."],
  busy: ["One moment", ""],
  denied: ["Notify this browser", "You have blocked messages of this page in your browser's settings."],
  failed: ["Notify this browser", "This browser couldn't be reached by a push service."],
};

let inbox, push;

// --- the user ---

/** The user and its token: from the link, or else from this tab's storage, or of the browser's subscription to push messages. */
function who() {
  const link = new URLSearchParams(location.hash.slice(1));
  if (link.has("token")) {
    sessionStorage.setItem("who", JSON.stringify({ user: link.get("user") ?? "", token: link.get("token") }));
    // Removes the token from the address and from the history.
    history.replaceState(null, "", location.pathname);
  }
  return JSON.parse(sessionStorage.getItem("who") ?? "null") ?? Push.owner();
}

function enter({ user, token }) {
  const name = user.charAt(0).toUpperCase() + user.slice(1);
  $("inbox").hidden = false;
  $("name").textContent = name;
  face(name, $("face"));
  $("tab").href = `#${new URLSearchParams({ user, token })}`;
  showCommand(user);
  push = new Push({ user, token }, drawPush);
  inbox = new Inbox({ user, token }, { changed: draw, arrived, joined: (channel, key) => push.joined(channel, key) });
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
  // If the browser doesn't allow copying, the page selects the text.
  if (!copied) getSelection().selectAllChildren($("command"));
  $("copy").lastElementChild.textContent = copied ? "Copied" : "Selected";
  setTimeout(() => ($("copy").lastElementChild.textContent = "Copy"), 2_000);
});

// --- actions ---

$("list").addEventListener("click", (event) => {
  const id = event.target.closest("[data-id]")?.dataset.id;
  const notification = inbox.list.find((each) => each.id === id);
  if (!notification || notification.read || !event.target.closest("a, button")) return;
  if (inbox.state !== "connected") return;
  // The button is about to be hidden, so the keyboard's focus moves on.
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

$("push").addEventListener("click", () => (push.state === "on" ? push.turnOff() : push.turnOn()));

/** The element that gets the focus after an item was read: the button of the nearest unread item, or else the item. */
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

// --- drawing ---

function draw() {
  const { state, unread, list, more } = inbox;
  if (state === "stale") return close("This link isn't valid any more", STALE);
  if (state === "refused") return close("You can't see these notifications", sentence(inbox.reason));
  document.documentElement.dataset.connection = state;
  document.title = `${unread ? `(${unread}) ` : ""}Notifications · Bennu`;
  put("connection", { connecting: "Connecting", connected: "Connected", reconnecting: "Reconnecting" }[state]);
  // Without a connection, new notifications are unknown.
  const isLive = more !== undefined && state === "connected";
  put("unread", unread > 0 ? `${unread} unread` : !isLive ? "" : list.length > 0 ? "All read" : "Nothing yet");
  $("badge").hidden = unread === 0;
  $("badge").textContent = unread > 99 ? "99+" : unread;
  $("read-all").disabled = unread === 0 || state !== "connected";
  $("empty").hidden = !isLive || list.length > 0;
  $("older").hidden = !more;
  drawList(list);
}

function drawPush() {
  const { state } = push;
  const [name, what] = PUSH[state] ?? ["", ""];
  $("pushing").hidden = state === "none";
  $("push").disabled = ["busy", "denied"].includes(state);
  $("push").lastElementChild.textContent = name;
  put("push-state", what);
}

/** A notification's element stays the same, so that it keeps the keyboard's focus. */
function drawList(list) {
  const there = new Map([...$("list").children].map((item) => [item.dataset.id, item]));
  let before = null;
  for (const notification of [...list].reverse()) {
    const item = there.get(notification.id) ?? card(notification);
    there.delete(notification.id);
    mark(item, notification, inbox.state === "connected");
    // The Tab key moves the focus to the list, and the arrow keys move it within the list.
    item.tabIndex = notification === list[0] ? 0 : -1;
    if (item.nextElementSibling !== before || !item.isConnected) $("list").insertBefore(item, before);
    before = item;
  }
  for (const item of there.values()) item.remove();
}

/** Sets a text only if it differs: a screen reader reads each text that is set. */
function put(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

/** Shows a toast for new notifications; screen readers read it too. */
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
// The browser rarely runs timers of a tab in the background.
document.addEventListener("visibilitychange", tellTimes);

function sentence(words) {
  const text = words.trim() || "the server gave no reason";
  return `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}

const known = who();
if (known) enter(known);
else close("Who are you?", "Open this page by a link on the start page: the link contains your name and token.");
