// The field for new messages and for edits of one's own messages.
//
// Everything works by keyboard: Enter sends. Arrow up in an empty field selects one's last message, and then the ones before
// it. Escape cancels an edit.

import { twice } from "./line.js";

const $ = (id) => document.getElementById(id);

export class Composer {
  /** The draft of each room, so that a change of the room loses no text. */
  #drafts = new Map();
  #room;
  #log;
  #watcher;

  /** @param {{said: (log: object) => void, editing: (room: object) => void}} watcher */
  constructor(watcher) {
    this.#watcher = watcher;
    this.field = $("body");
    $("write").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.field.addEventListener("keydown", (event) => this.#key(event));
    this.field.addEventListener("input", () => this.#input());
    $("write").addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.#room.editing) return;
      event.preventDefault();
      this.#end();
    });
    $("keep").addEventListener("click", () => this.#end());
    twice($("remove"), "Delete it?", () => {
      this.#room.delete(this.#room.editing);
      this.#end();
    });
  }

  /** Shows another room. */
  turn(room, log) {
    if (this.#room?.editing) this.#end();
    this.#room = room;
    this.#log = log;
    this.field.placeholder = `Message #${room.name}`;
    this.#write(this.#drafts.get(room.name) ?? "");
  }

  forget(room) {
    room.editing = undefined;
    this.#drafts.delete(room.name);
    this.#drawMode();
  }

  /** Starts to edit a message. */
  edit(message) {
    const room = this.#room;
    room.editing = message.id;
    this.#drawMode();
    this.#write(message.body);
    this.#watcher.editing(room);
    this.#log.reveal(message.id);
    this.field.focus();
    this.field.setSelectionRange(message.body.length, message.body.length);
  }

  /** Makes the field as high as its text, up to the maximum of the style. */
  fit() {
    this.field.style.height = "auto";
    this.field.style.height = `${this.field.scrollHeight}px`;
  }

  #submit() {
    const room = this.#room;
    const body = this.field.value.trim();
    if (room.state === "refused" || room.state === "closed") return;
    if (room.editing) {
      // A message needs a text; the other button deletes the message.
      if (!body) return $("remove").focus();
      if (body !== room.find(room.editing)?.body) room.edit(room.editing, body);
      return this.#end();
    }
    if (!body) return;
    this.#drafts.delete(room.name);
    this.#write("");
    this.#watcher.said(this.#log);
    room.say(body);
    this.field.focus();
  }

  #key(event) {
    // An input method (for example, for Japanese) uses these keys itself.
    if (event.shiftKey || event.altKey || event.isComposing) return;
    if (event.key === "Enter") {
      event.preventDefault();
      $("write").requestSubmit();
    } else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      if (this.#step(event.key === "ArrowUp")) event.preventDefault();
    }
  }

  /** Edits our previous or next message, unless the field contains unsaved text. */
  #step(up) {
    const room = this.#room;
    const at = room.editing && room.find(room.editing);
    if (this.field.value !== (at?.body ?? "")) return false;
    const next = up ? room.lastOwn(at?.key) : at && room.nextOwn(at.key);
    if (next) this.edit(next);
    else if (at && !up) this.#end();
    return next !== undefined || at !== undefined;
  }

  #input() {
    this.fit();
    if (this.#room.editing) return;
    this.#drafts.set(this.#room.name, this.field.value);
    if (this.field.value.trim()) this.#room.type();
    else this.#room.stopTyping();
  }

  /** Ends the edit. */
  #end() {
    const room = this.#room;
    room.editing = undefined;
    this.#drawMode();
    this.#write(this.#drafts.get(room.name) ?? "");
    this.#watcher.editing(room);
    this.field.focus();
  }

  #write(text) {
    this.field.value = text;
    this.fit();
  }

  #drawMode() {
    const editing = this.#room?.editing !== undefined;
    $("write").classList.toggle("changing", editing);
    $("editing").hidden = !editing;
    $("deliver").setAttribute("aria-label", editing ? "Save" : "Send");
  }
}
