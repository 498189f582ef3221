// Shows a conversation: its lines with the days between them; consecutive messages of one user are grouped.
//
// At each change the log describes all lines again, and updates only the elements that differ. A user who has scrolled up stays
// at the same line, whatever comes above or below it.

import { dayName, draw, make, waiting } from "./line.js";

/** Messages of one user within this time are grouped. */
const TOGETHER = 3 * 60_000;
/** The maximum number of lines while the newest is visible; it limits the page's memory. */
const KEPT = 500;
/** If the scroll position is this near to the end, in pixels, the log follows new messages. */
const NEAR = 80;
/** If the scroll position is this near to the start, in pixels, the log requests older messages. */
const EARLY = 600;

/** The lines of one room, as an element. */
export class Log {
  /**
   * @param {import("./room.js").Room} room
   * @param {{edit: (message: object) => void, scrolled: () => void}} watcher
   */
  constructor(room, watcher) {
    this.room = room;
    this.watcher = watcher;
    /** Whether the newest line stays visible: until the user scrolls up. */
    this.followed = true;
    /** The shown lines by key: each line's description and its element. */
    this.shown = new Map();
    this.element = make("div", "log");
    this.element.setAttribute("role", "log");
    this.element.setAttribute("aria-label", `Messages in ${room.name}`);
    this.element.tabIndex = 0;
    this.empty = emptiness(room);
    this.lines = make("ol", "lines");
    this.pending = make("ol", "lines pending");
    this.element.append(this.empty, this.lines, this.pending);
    this.element.addEventListener("scroll", () => this.#look(), { passive: true });
    this.element.addEventListener("click", (event) => this.#choose(event.target));
    // The log's height changes too: if an on-screen keyboard opens, or the field grows.
    new ResizeObserver(() => this.followed && this.follow()).observe(this.element);
  }

  /** Shows the room as it is. */
  render() {
    if (this.followed) this.room.trim(KEPT);
    const anchor = this.followed ? undefined : this.#inSight();
    this.#show(this.#described());
    this.#showPending();
    if (this.followed) this.follow();
    else if (anchor) this.element.scrollTop += (this.#topOf(anchor.key) ?? anchor.top) - anchor.top;
    this.#reach();
  }

  /** Scrolls to the newest line, and follows new lines. */
  follow() {
    this.followed = true;
    this.element.scrollTop = this.element.scrollHeight;
  }

  /** Scrolls to the first new message, or to the newest line if all new messages are visible there. */
  open() {
    this.follow();
    const divider = this.shown.get("divider")?.element;
    if (!divider) return;
    const above = divider.getBoundingClientRect().top - this.element.getBoundingClientRect().top;
    if (above < 0) this.element.scrollTop += above - NEAR / 2;
    this.#look();
  }

  /** Scrolls until a message is visible. */
  reveal(id) {
    this.shown.get(id)?.element.scrollIntoView({ block: "nearest" });
  }

  #look() {
    const { scrollHeight, scrollTop, clientHeight } = this.element;
    if (clientHeight === 0) return; // another room is shown
    this.followed = scrollHeight - scrollTop - clientHeight < NEAR;
    this.#reach();
    this.watcher.scrolled();
  }

  /** Requests older messages if the scroll position is near the start. */
  #reach() {
    const { scrollTop, clientHeight } = this.element;
    if (clientHeight > 0 && scrollTop < EARLY) this.room.older();
  }

  /** A tap on one's own message shows its buttons, and the next tap hides them. */
  #choose(target) {
    if (target.closest(".actions") || !getSelection().isCollapsed) return;
    const item = target.closest(".message.mine");
    for (const other of this.lines.querySelectorAll(".chosen")) if (other !== item) other.classList.remove("chosen");
    item?.classList.toggle("chosen");
    item?.scrollIntoView({ block: "nearest" });
  }

  // --- the description ---

  #described() {
    const { room } = this;
    const first = room.messages[0];
    this.empty.hidden = first !== undefined || room.pending.length > 0 || room.state !== "joined";
    const items = [];
    const add = (item) => items.push({ ...item, look: JSON.stringify({ ...item, live: undefined }) });
    if (first) add({ kind: "top", key: "top", more: room.more, asking: room.asking, room: room.name });
    let before; // the message right before this one
    let today;
    let divided = room.divider === undefined;
    for (const line of room.lines) {
      if (line.kind === "note") {
        // It belongs to older messages, which aren't loaded.
        if (room.more && line.key < first?.key) continue;
        add(line);
        before = undefined;
        continue;
      }
      const name = dayName(line.at);
      if (name !== today) {
        add({ kind: "day", key: `day ${new Date(line.at).toDateString()}`, name });
        before = undefined;
        today = name;
      }
      if (!divided && line.key > room.divider) {
        add({ kind: "divider", key: "divider" });
        before = undefined;
        divided = true;
      }
      add(this.#message(line, before));
      before = line;
    }
    return items;
  }

  #message(line, before) {
    const { key, live, ...message } = line;
    const mine = this.room.isMine(line);
    const same = before?.user === line.user && before?.author === line.author;
    const goesOn = same && line.at - before.at < TOGETHER;
    const { edited, deleted = false } = line;
    const editing = this.room.editing === key;
    return { kind: "message", key, live, message, mine, goesOn, edited: edited !== undefined, deleted, editing };
  }

  // --- the elements ---

  #show(items) {
    const keys = new Set(items.map((item) => item.key));
    for (const [key, { element }] of this.shown) {
      if (keys.has(key)) continue;
      element.remove();
      this.shown.delete(key);
    }
    // Screen readers don't read older messages aloud.
    this.element.setAttribute("aria-busy", String(this.room.asking));
    const elements = items.map((item) => this.#element(item));
    let at = this.lines.firstElementChild;
    for (const element of elements) {
      if (element === at) at = at.nextElementSibling;
      else this.lines.insertBefore(element, at);
    }
  }

  /** The element of an item; a new one if the item's description has changed. */
  #element(item) {
    const held = this.shown.get(item.key);
    if (held?.look === item.look) return held.element;
    const { room } = this;
    const element = draw({
      ...item,
      live: item.live && !held,
      edit: this.watcher.edit,
      remove: (message) => room.delete(message.id),
      older: () => room.older(),
    });
    element.dataset.key = item.key;
    held?.element.replaceWith(element);
    this.shown.set(item.key, { look: item.look, element });
    return element;
  }

  /** Shows messages that are on their way, or couldn't be delivered. */
  #showPending() {
    const shown = this.room.pending.filter((message) => message.state !== "sent");
    if (shown.length === 0 && this.pending.childElementCount === 0) return;
    this.pending.replaceChildren(...shown.map((message) => waiting(message, (lost) => this.room.retry(lost))));
  }

  /** The first visible message, and its position. */
  #inSight() {
    const { top } = this.element.getBoundingClientRect();
    const messages = [...this.lines.querySelectorAll(".message")];
    const first = messages.find((element) => element.getBoundingClientRect().bottom > top);
    return first && { key: first.dataset.key, top: first.getBoundingClientRect().top };
  }

  #topOf(key) {
    return this.shown.get(key)?.element.getBoundingClientRect().top;
  }
}

function emptiness(room) {
  const box = make("div", "empty");
  const words = make("p", "", "There are no messages yet.");
  const link = make("a", "", "Open a second window");
  link.href = `#${encodeURIComponent(room.name)}`;
  link.target = "_blank";
  link.rel = "noopener";
  box.append(words, link);
  return box;
}
