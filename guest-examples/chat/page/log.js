// How a conversation looks: lines in the order in which they came, those of one person in a row drawn together.
//
// Whatever people wrote enters the page as text, never as HTML.

/** Lines of one person within this time stand together. */
const TOGETHER = 3 * 60_000;
/** So many lines are kept, for the page's memory. */
const KEPT = 500;
/** So near to its end, a log is followed as it grows. */
const NEAR = 80;

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

/** The lines of one room, as an element. */
export class Log {
  constructor(room) {
    this.room = room;
    this.last = undefined;
    /** Whether the newest line is kept in sight: until somebody scrolls away from it. */
    this.followed = true;
    this.element = make("div", "log");
    this.element.setAttribute("role", "log");
    this.element.setAttribute("aria-label", `Messages in ${room.name}`);
    this.element.tabIndex = 0;
    this.empty = emptiness(room);
    this.lines = make("ol", "lines");
    this.pending = make("ol", "lines pending");
    this.element.append(this.empty, this.lines, this.pending);
    this.element.addEventListener("scroll", () => this.#look(), { passive: true });
    // The room for it changes too: a keyboard comes up, the field to write in grows.
    new ResizeObserver(() => this.followed && this.follow()).observe(this.element);
  }

  /** Adds a line. */
  add(line) {
    if (line.kind === "message") this.empty.remove();
    this.lines.append(line.kind === "message" ? this.#message(line) : note(line));
    if (this.lines.childElementCount > KEPT) this.lines.firstElementChild.remove();
    this.last = line;
    if (this.followed) this.follow();
  }

  /** Shows what is on its way, or was lost. */
  showPending(retry) {
    const shown = this.room.pending.filter((message) => message.state !== "sent");
    this.pending.replaceChildren(...shown.map((message) => waiting(message, retry)));
    if (this.followed) this.follow();
  }

  /** Goes to the newest line and stays with it. */
  follow() {
    this.followed = true;
    this.element.scrollTop = this.element.scrollHeight;
  }

  #look() {
    const { scrollHeight, scrollTop, clientHeight } = this.element;
    this.followed = scrollHeight - scrollTop - clientHeight < NEAR;
  }

  #message(message) {
    const mine = message.user === this.room.user;
    const goesOn =
      this.last?.kind === "message" && this.last.user === message.user && message.at - this.last.at < TOGETHER;
    const item = make("li", `message${mine ? " mine" : ""}${goesOn ? " goes-on" : ""}`);
    if (!goesOn) {
      const head = make("div", "head");
      const time = make("time", "", clock.format(message.at));
      time.dateTime = new Date(message.at).toISOString();
      head.append(make("span", "user", mine ? "You" : message.user), time);
      item.append(face(message.user), head);
    }
    item.append(make("p", "bubble", message.body));
    return item;
  }
}

/** A person's face: a letter on a colour that goes with the name. */
export function face(user, element = make("span", "face")) {
  element.setAttribute("aria-hidden", "true");
  element.textContent = [...user][0]?.toUpperCase() ?? "";
  let hash = 0;
  for (const letter of user) hash = Math.imul(hash ^ letter.codePointAt(0), 0x9e3779b1);
  element.style.setProperty("--hue", (hash >>> 8) % 360);
  return element;
}

/** A plugin's reason as a sentence, or what to say where it gave none. */
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

function note(line) {
  return make("li", line.back ? "note back" : "note", line.text);
}

function waiting(message, retry) {
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

function emptiness(room) {
  const box = make("div", "empty");
  const words = make("p", "", "Nothing has been said here since you came.");
  const link = make("a", "", "Open a second window");
  link.href = `#${encodeURIComponent(room.name)}`;
  link.target = "_blank";
  link.rel = "noopener";
  box.append(words, link);
  return box;
}
