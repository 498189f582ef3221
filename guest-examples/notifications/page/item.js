// The element of one notification.

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const ago = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const date = new Intl.DateTimeFormat("en", { day: "numeric", month: "long", year: "numeric" });
const exact = new Intl.DateTimeFormat("en", { dateStyle: "full", timeStyle: "short" });

/** The element of a notification. */
export function card(notification) {
  const item = make("li", "item");
  item.dataset.id = notification.id;
  const words = make("div", "words");
  const head = make("div", "head");
  const title = make("h2", "", notification.title);
  const time = make("time");
  time.dateTime = new Date(notification.at).toISOString();
  time.title = exact.format(notification.at);
  tell(time);
  head.append(make("span", "unseen state"), title, time);
  words.append(head);
  if (notification.body) words.append(make("p", "", notification.body));
  const target = address(notification.link);
  if (target) words.append(link(target, notification.title));
  item.append(words, button(notification.title));
  return item;
}

/** Shows whether the notification was read. */
export function mark(item, { read }, connected) {
  item.classList.toggle("unread", !read);
  item.querySelector(".state").textContent = read ? "" : "Unread: ";
  const button = item.querySelector("button");
  button.hidden = read;
  // Not `disabled`, which would remove the keyboard's focus while the connection is lost.
  button.setAttribute("aria-disabled", !connected);
}

/** Updates the text that says how long ago a notification came. */
export function tell(time) {
  const passed = Date.now() - Date.parse(time.dateTime);
  const text = since(passed, Date.parse(time.dateTime));
  if (time.textContent !== text) time.textContent = text;
}

function since(passed, at) {
  if (passed < MINUTE) return "just now";
  if (passed < HOUR) return ago.format(-Math.floor(passed / MINUTE), "minute");
  if (passed < DAY) return ago.format(-Math.floor(passed / HOUR), "hour");
  if (passed < 7 * DAY) return ago.format(-Math.floor(passed / DAY), "day");
  return date.format(at);
}

/** A user's face, as in the chat: the first letter of the name on the name's colour. */
export function face(user, element) {
  element.textContent = [...user][0]?.toUpperCase() ?? "";
  let hash = 0;
  for (const letter of user) hash = Math.imul(hash ^ letter.codePointAt(0), 0x9e3779b1);
  element.style.setProperty("--hue", (hash >>> 8) % 360);
}

/** The address of a link, if it is a web page. */
function address(text) {
  if (!text || !URL.canParse(text, location.href)) return undefined;
  const target = new URL(text, location.href);
  return ["http:", "https:"].includes(target.protocol) ? target : undefined;
}

function link(target, title) {
  const elsewhere = target.origin !== location.origin;
  const element = make("a", "", elsewhere ? target.host : "Open");
  element.href = target.href;
  element.setAttribute("aria-label", `Open: ${title}`);
  if (elsewhere) {
    element.target = "_blank";
    element.rel = "noopener noreferrer";
  }
  return element;
}

function button(title) {
  const element = make("button", "mark");
  element.type = "button";
  element.title = "Mark as read";
  element.setAttribute("aria-label", `Mark as read: ${title}`);
  const icon = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  icon.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", "#check");
  icon.append(use);
  element.append(icon);
  return element;
}

/** An element with a class and a text. */
function make(tag, kind = "", text = "") {
  const element = document.createElement(tag);
  if (kind) element.className = kind;
  if (text) element.textContent = text;
  return element;
}
