// The people on the board.

import { hue, initial, make, put } from "./make.js";

const $ = (id) => document.getElementById(id);
/** The number of faces that are shown. */
const FACES = 4;

/** Shows the other members. A user with two windows is shown once. */
export function showPeople(members, me) {
  const users = new Map(members.filter(({ role }) => role === "draw").map((member) => [member.user, member.name]));
  users.delete(me?.user);
  const names = [...users.values()];
  const shown = names.slice(0, names.length > FACES ? FACES - 1 : FACES);
  const items = shown.map((name) => face(name, name));
  if (names.length > shown.length) items.push(face(`+${names.length - shown.length}`, names.slice(shown.length).join(", ")));
  const before = [...$("people").children].map(({ textContent }) => textContent).join();
  if (before !== items.map(({ textContent }) => textContent).join()) $("people").replaceChildren(...items);
  const watchers = members.filter(({ role, id }) => role === "look" && id !== me?.id).length;
  $("watchers").hidden = watchers === 0;
  put($("eyes"), String(watchers));
}

function face(name, title) {
  const item = make("li", "face");
  const sign = make("span", "", name.startsWith("+") && name !== title ? name : initial(name));
  sign.setAttribute("aria-hidden", "true");
  item.title = title;
  item.style.setProperty("--hue", hue(name));
  item.append(sign, make("span", "unseen", title));
  return item;
}
