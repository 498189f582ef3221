// What an operator can do from the pages: each is confirmed, and its result is told.

import { field, h } from "./dom.mjs";
import { request } from "./requests.mjs";

/** How long a message is shown, in milliseconds. */
const SHOWN_FOR = 6000;

let messages;

/** The place of the messages. Screen readers read it aloud. */
export function messageArea() {
  messages = h("div", { class: "messages", role: "status", "aria-live": "polite" });
  return messages;
}

/** Tells something. `kind` is `good` or `bad`. */
export function tell(text, kind = "good") {
  const message = h("p", { class: `message ${kind}` }, h("span", {}, text), h("button", { class: "plain", "aria-label": "Dismiss", on: { click: () => message.remove() } }, "×"));
  messages.append(message);
  while (messages.children.length > 4) messages.firstChild.remove();
  if (kind === "good") setTimeout(() => message.remove(), SHOWN_FOR);
}

/**
 * Asks before something is done. The focus returns to where it was.
 *
 * @returns {Promise<string | null>} the text of the field, or `""` without one; null if it isn't wanted
 */
export function confirmed({ title, text, action, input }) {
  const cancel = h("button", { value: "", formnovalidate: true }, "Cancel");
  const control = input && h("input", { type: "text", maxlength: 200, placeholder: input.hint ?? false });
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-labelledby": "dialog-title" },
      h("form", { method: "dialog" },
        h("h2", { id: "dialog-title" }, title), h("p", {}, text), control && field(input.label, control),
        // The first one is the one that Enter in the field presses.
        h("div", { class: "buttons reversed" }, h("button", { value: "yes", class: "primary" }, action), cancel)));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes" ? (control?.value.trim() ?? "") : null);
    });
    document.body.append(dialog);
    dialog.showModal();
    (control ?? cancel).focus();
  });
}

/** Does something, and tells its result. While it is done, the button is disabled. */
export async function act(button, doing, done) {
  button.disabled = true;
  try {
    const result = await doing();
    tell(typeof done === "function" ? done(result) : done);
    return true;
  } catch (error) {
    tell(error.message, "bad");
    return false;
  } finally {
    button.disabled = false;
  }
}

/** Commands for a plugin. */
export const COMMANDS = {
  reload: { label: "Reload", title: "Load the file again?", text: "The host loads the plugin's file again, although it hasn't changed. Members stay joined.", done: "was loaded" },
  rollback: { label: "Roll back", title: "Roll back?", text: "The previous build serves again, until the file changes or the host restarts. Members stay joined.", done: "was rolled back" },
  unload: { label: "Unload", title: "Unload?", text: "The plugin's members end, and nothing serves its topics until it is reloaded.", done: "was unloaded" },
};

/** Runs one of {@link COMMANDS} after a question. */
export async function command(button, name, command) {
  const { title, text, label, done } = COMMANDS[command];
  if ((await confirmed({ title: `${name}: ${title}`, text, action: label })) === null) return;
  await act(button, () => request("POST", `/api/plugins/${encodeURIComponent(name)}/${command}`), `${name} ${done}.`);
}

/** Ends members after a question. */
export async function kick(button, topic, member, who) {
  const reason = await confirmed({
    title: `Kick ${who}?`,
    text: `The member of ${topic} ends, and its client gets phx_close. It may join again.`,
    action: "Kick",
    input: { label: "Reason (optional)" },
  });
  if (reason === null) return;
  const body = { topic, member, ...(reason && { reason }) };
  await act(button, () => request("POST", "/api/kick", body), ({ members }) => (members === 1 ? `${who} was kicked.` : "The member had ended already."));
}

/** Closes all sockets of an id after a question. */
export async function disconnect(button, id) {
  const text = "Every socket with this id is closed. Its client connects again by itself.";
  if ((await confirmed({ title: `Disconnect ${id}?`, text, action: "Disconnect" })) === null) return;
  await act(button, () => request("POST", "/api/disconnect", { id }), ({ sockets }) => `${sockets} ${sockets === 1 ? "socket was" : "sockets were"} closed.`);
}
