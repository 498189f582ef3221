// Makes elements for the lines of a conversation. User input is inserted as text, never as HTML.

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });
const thisYear = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const otherYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });

/** The element of a line that `Log` describes. */
export function draw(line) {
  const element = { message, note, day, divider, top }[line.kind](line);
  // Only a line that comes while the room is visible is animated.
  element.classList.toggle("live", line.live === true);
  return element;
}

/** One of our messages that is on its way, or couldn't be delivered. */
export function waiting(message, retry) {
  const item = make("li", `message mine goes-on ${message.state}`);
  item.append(make("p", "bubble", message.body));
  if (message.state === "failed") {
    const again = make("button", "retry", `${sentence(message.reason, "Not delivered")} Try again`);
    again.type = "button";
    again.addEventListener("click", () => retry(message));
    item.append(again);
  } else {
    item.append(make("span", "on-its-way", "on its way …"));
  }
  return item;
}

/** The day of a time, in words. */
export function dayName(at, now = Date.now()) {
  const midnight = (time) => new Date(time).setHours(0, 0, 0, 0);
  const days = Math.round((midnight(now) - midnight(at)) / 86_400_000);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  return (new Date(at).getFullYear() === new Date(now).getFullYear() ? thisYear : otherYear).format(at);
}

/** A user's face: the first letter of the name on the name's colour. */
export function face(user, element = make("span", "face")) {
  element.setAttribute("aria-hidden", "true");
  element.textContent = [...user][0]?.toUpperCase() ?? "";
  let hash = 0;
  for (const letter of user) hash = Math.imul(hash ^ letter.codePointAt(0), 0x9e3779b1);
  element.style.setProperty("--hue", (hash >>> 8) % 360);
  return element;
}

/** A plugin's reason as a sentence; if there is none, `otherwise`. */
export function sentence(reason, otherwise) {
  const words = String(reason ?? "").trim() || otherwise;
  return `${words[0].toUpperCase()}${words.slice(1)}${/[.!?]$/.test(words) ? "" : "."}`;
}

/** An element with a class and a text. */
export function make(tag, kind = "", text = "") {
  const element = document.createElement(tag);
  if (kind) element.className = kind;
  if (text) element.textContent = text;
  return element;
}

/** A button that acts only at the second click, because its action can't be undone. */
export function twice(button, question, act) {
  const { textContent } = button;
  const settle = () => {
    button.classList.remove("sure");
    button.textContent = textContent;
  };
  button.addEventListener("click", () => {
    if (button.classList.contains("sure")) {
      settle();
      act();
      return;
    }
    button.classList.add("sure");
    button.textContent = question;
  });
  button.addEventListener("blur", settle);
  // On a touch screen the pointer leaves at each tap.
  button.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && settle());
  return button;
}

function message({ message, mine, goesOn, edited, deleted, editing, edit, remove }) {
  const item = make("li", "message");
  item.classList.toggle("mine", mine);
  item.classList.toggle("goes-on", goesOn);
  item.classList.toggle("editing", editing);
  if (!goesOn) {
    const head = make("div", "head");
    head.append(make("span", "user", mine ? "You" : message.user), time(message.at));
    item.append(face(message.user), head);
  }
  const bubble = make("p", "bubble", deleted ? "This message was deleted" : message.body);
  bubble.classList.toggle("deleted", deleted);
  if (goesOn) bubble.title = moment.format(message.at);
  if (edited) {
    const mark = make("span", "edited", "edited");
    mark.title = moment.format(message.edited);
    bubble.append(" ", mark);
  }
  item.append(bubble);
  if (mine && !deleted) item.append(actions(message, edit, remove));
  return item;
}

/** The buttons of one's own message. They can't get the keyboard's focus, because the composer offers the same by keyboard. */
function actions(message, edit, remove) {
  const bar = make("div", "actions");
  const change = make("button", "", "Edit");
  change.addEventListener("click", () => edit(message));
  const away = twice(make("button", "delete", "Delete"), "Delete it?", () => remove(message));
  for (const button of [change, away]) {
    button.type = "button";
    button.tabIndex = -1;
    bar.append(button);
  }
  return bar;
}

function time(at) {
  const time = make("time", "", clock.format(at));
  time.dateTime = new Date(at).toISOString();
  time.title = moment.format(at);
  return time;
}

function note({ text, back }) {
  return make("li", back ? "note back" : "note", text);
}

function day({ name }) {
  return make("li", "day", name);
}

function divider() {
  return make("li", "note divider", "New messages");
}

/** The line above the first message: a button for older messages, or a text that there are none. */
function top({ more, asking, room, older }) {
  const item = make("li", "top");
  if (!more) {
    item.append(make("p", "", `This is where #${room} begins.`));
    return item;
  }
  const button = make("button", "older", asking ? "Loading older messages …" : "Older messages");
  button.type = "button";
  button.addEventListener("click", older);
  item.append(button);
  return item;
}
