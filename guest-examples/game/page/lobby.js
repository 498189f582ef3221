// The lobby: a live list of games.

import { RoomState } from "./room_state.mjs";
import { icon, make } from "./make.js";

const $ = (id) => document.getElementById(id);
const KINDS = { four: "Four in a row", arena: "Lights" };
const PHASES = { waiting: "Waiting", ready: "About to begin", playing: "Being played", over: "Just ended" };

export class Lobby {
  #channel;

  constructor(socket) {
    this.#channel = socket.channel("lobby", {});
    new RoomState(this.#channel, { onChange: ({ games }) => draw(games) });
    this.#channel.join();
  }

  leave() {
    this.#channel.leave();
  }
}

/** The kind of a topic's game. */
export const kind = (topic) => KINDS[topic.split(":")[0]];

/** A new topic, without members. */
export function fresh(kind) {
  const letters = crypto.getRandomValues(new Uint8Array(6));
  return `${kind}:${[...letters].map((letter) => (letter % 36).toString(36)).join("")}`;
}

function draw(games) {
  // Games that wait for players come first.
  const topics = Object.keys(games).filter(kind);
  topics.sort((one, other) => (games[one].phase !== "waiting") - (games[other].phase !== "waiting") || (one < other ? -1 : 1));
  $("count").textContent = topics.length || "";
  $("no-games").hidden = topics.length > 0;
  const there = new Map([...$("games").children].map((item) => [item.dataset.topic, item]));
  topics.forEach((topic, at) => {
    const item = there.get(topic) ?? entry(topic);
    there.delete(topic);
    fill(item, games[topic]);
    // An entry stays the same element in the same place, so that it keeps the keyboard's focus.
    if ($("games").children[at] !== item) $("games").insertBefore(item, $("games").children[at] ?? null);
  });
  for (const item of there.values()) item.remove();
}

function entry(topic) {
  const item = make("li");
  item.dataset.topic = topic;
  const link = make("a", "entry");
  link.href = `#${topic}`;
  const words = make("span", "words");
  words.append(make("strong", "names"), make("span", "phase"));
  link.append(icon(topic.split(":")[0], "sign"), words, make("span", "seats"), make("span", "act"));
  item.append(link);
  return item;
}

function fill(item, { players, seats, phase, watching }) {
  const set = (part, text) => {
    const element = item.querySelector(`.${part}`);
    if (element.textContent !== text) element.textContent = text;
  };
  const eyes = watching > 0 ? ` · ${watching} watching` : "";
  item.dataset.phase = phase;
  set("names", players.join(", "));
  set("phase", `${kind(item.dataset.topic)} · ${PHASES[phase] ?? phase}${eyes}`);
  set("seats", `${players.length} of ${seats}`);
  set("act", players.length < seats ? "Join" : "Watch");
}
