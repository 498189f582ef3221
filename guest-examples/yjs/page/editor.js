// The page of the example: a document that several people write at once. The name of the document is the address after #.

import { Socket } from "phoenix";
import { Awareness } from "y-protocols/awareness";
import { Doc } from "yjs";

import { bind } from "./binding.js";
import { Provider } from "./provider.js";

const $ = (id) => document.getElementById(id);

const NAMES = ["Heron", "Egret", "Ibis", "Stork", "Crane", "Bittern"];

const name = decodeURIComponent(location.hash.slice(1)) || "welcome";
const doc = new Doc(), text = doc.getText("text"), awareness = new Awareness(doc);
const socket = new Socket("/socket");
let isOffline = false;

socket.connect();
const provider = new Provider(socket, `doc:${name}`, doc, { awareness, onChange: show, onError: complain });

$("name").textContent = document.title = name;
$("who").value = localStorage.getItem("name") ?? NAMES[doc.clientID % NAMES.length];
$("who").addEventListener("input", introduce);
$("text").addEventListener("keyup", introduce);
$("text").addEventListener("click", introduce);
$("line").addEventListener("click", () => {
  isOffline = !isOffline;
  if (isOffline) socket.disconnect();
  else socket.connect();
  show();
});
addEventListener("hashchange", () => location.reload());
awareness.on("change", list);
bind($("text"), text);
introduce();

/** Shows the others the user's name, and the line that the user is in. */
function introduce() {
  const user = $("who").value.trim() || "Somebody";
  localStorage.setItem("name", user);
  const line = $("text").value.slice(0, $("text").selectionStart).split("\n").length;
  const state = awareness.getLocalState();
  if (state.user !== user || state.line !== line) awareness.setLocalState({ user, line });
}

function show() {
  const state = isOffline ? "offline" : provider.synced ? "saved" : "joining";
  $("state").dataset.state = state;
  $("state").textContent = { offline: "Offline: your changes stay here", saved: "Saved", joining: "Connecting …" }[state];
  $("line").textContent = isOffline ? "Go online" : "Go offline";
  $("line").setAttribute("aria-pressed", isOffline);
  if (provider.synced) [$("text").disabled, $("problem").hidden] = [false, true];
}

/** Lists the people, this user first. */
function list() {
  const own = doc.clientID;
  const people = [...awareness.getStates()].sort(([one], [other]) => (other === own) - (one === own) || one - other);
  $("people").replaceChildren(...people.map(([client, { user, line }]) => {
    const item = document.createElement("li"), place = document.createElement("span");
    item.style.setProperty("--hue", (client * 47) % 360);
    place.textContent = client === own ? "you" : `line ${Number(line) || 1}`;
    item.append(String(user), place);
    return item;
  }));
}

function complain(reason) {
  $("problem").textContent = reason;
  $("problem").hidden = false;
}
