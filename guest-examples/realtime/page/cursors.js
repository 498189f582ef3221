// The pointers of all people on one pad: broadcast and presence of Supabase Realtime, with its own client.

import { RealtimeClient } from "@supabase/realtime-js";

const $ = (id) => document.getElementById(id);

/** The shortest time between two broadcasts, in milliseconds. */
const PACE_MS = 40;

const NAMES = ["Heron", "Egret", "Ibis", "Stork", "Crane", "Bittern"];

const own = crypto.getRandomValues(new Uint32Array(1))[0].toString(36);
const client = new RealtimeClient(location.origin.replace("http", "ws") + "/realtime/v1", { params: { apikey: "demo" } });
const channel = client.channel("cursors", { config: { presence: { key: own } } });
const pointers = new Map();
let last = 0;

$("who").value = NAMES[parseInt(own, 36) % NAMES.length];
$("who").addEventListener("change", introduce);
$("pad").addEventListener("pointermove", ({ clientX, clientY }) => {
  if (Date.now() - last < PACE_MS) return;
  last = Date.now();
  const { left, top, width, height } = $("pad").getBoundingClientRect();
  channel.send({ type: "broadcast", event: "cursor", payload: { key: own, x: (clientX - left) / width, y: (clientY - top) / height } });
});

channel
  .on("broadcast", { event: "cursor" }, ({ payload }) => move(payload))
  .on("presence", { event: "sync" }, show)
  .subscribe((state, error) => {
    $("state").textContent = { SUBSCRIBED: "Connected", CHANNEL_ERROR: `Not connected: ${error?.message}` }[state] ?? "Connecting …";
    if (state === "SUBSCRIBED") introduce();
  });

function introduce() {
  channel.track({ name: $("who").value.trim() || "Somebody" });
}

const hue = (key) => (parseInt(key, 36) * 47) % 360 || 0;
const nameOf = (key) => String(channel.presenceState()[key]?.at(-1)?.name ?? "");

/** Shows the pointer of another person who is here. */
function move({ key, x, y }) {
  if (!nameOf(key)) return;
  const pointer = pointers.get(key) ?? document.createElement("span");
  pointers.set(key, pointer);
  pointer.className = "pointer";
  pointer.textContent = nameOf(key);
  pointer.style.setProperty("--hue", hue(key));
  pointer.style.left = `${Number(x) * 100}%`;
  pointer.style.top = `${Number(y) * 100}%`;
  $("pad").append(pointer);
}

function show() {
  const here = channel.presenceState();
  for (const [key, pointer] of pointers) if (!here[key]) (pointer.remove(), pointers.delete(key));
  $("people").replaceChildren(...Object.keys(here).sort((one) => (one === own ? -1 : 1)).map((key) => {
    const item = document.createElement("li");
    item.style.setProperty("--hue", hue(key));
    item.textContent = nameOf(key) + (key === own ? " (you)" : "");
    return item;
  }));
}
