// The page of the orders: it belongs to the web application, whose cookie says who the user is. Bennu's gatekeeper asks the application
// about this cookie, so the page has no token.

import { Socket } from "./phoenix.mjs";

const $ = (id) => document.getElementById(id);
const post = (path, json) =>
  fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(json) });

let channel;

$("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  await post("/login", { user: $("user").value });
  await start();
});
$("order").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { ok } = await post("/orders", { dish: $("dish").value });
  if (ok) $("dish").value = "";
});

/** Joins the topic of the user, if there is one. */
async function start() {
  const session = await fetch("/session");
  if (!session.ok) return;
  const [{ user }, { url }] = await Promise.all([session.json(), fetch("/bennu").then((answer) => answer.json())]);
  [$("login").hidden, $("order").hidden] = [true, false];
  const socket = new Socket(`${url.replace(/^http/, "ws")}/socket`);
  socket.onOpen(() => ($("state").textContent = `Connected as ${user}`));
  socket.onClose(() => ($("state").textContent = "Connecting …"));
  socket.connect();
  channel = socket.channel(`orders:${user}`);
  channel.on("placed", show);
  channel.on("acknowledged", ({ id }) => acknowledged(id));
  // After a reconnect, the list is new.
  channel.join().receive("ok", ({ orders }) => {
    $("orders").replaceChildren();
    orders.forEach(show);
  });
}

function show({ id, dish, acknowledged: isDone }) {
  const item = document.createElement("li");
  item.id = `order-${id}`;
  const name = document.createElement("span");
  name.textContent = dish;
  const button = document.createElement("button");
  button.textContent = "Got it";
  button.addEventListener("click", () => channel.push("acknowledge", { id }));
  item.append(name, button);
  $("orders").prepend(item);
  if (isDone) acknowledged(id);
}

function acknowledged(id) {
  const item = $(`order-${id}`);
  item?.classList.add("done");
  item?.querySelector("button")?.replaceWith(Object.assign(document.createElement("em"), { textContent: "received" }));
}

start();
