// The largest rooms, with the sizes of their states and entries.

import { badge, card, empty, field, h, list, row, say, table } from "../dom.mjs";
import { bytes, number, visible } from "../format.mjs";

const TYPED = 200;

export function roomsPage(shell) {
  let timer = null;
  const search = h("input", { type: "search", spellcheck: "false", placeholder: "Part of a topic" });
  const rooms = table("Rooms", [["Topic"], ["Plugin"], ["Kind"], ["State", "number"], ["Entries", "number"], ["Bytes", "number"], ["Published", "number"], ["Not stored yet", "number"], ["Rollback"]]);
  const nothing = empty("No room is open.");
  const note = h("p", { class: "about" });
  const page = {
    element: h("div", { class: "page" }, h("h1", {}, "Rooms"),
      card("Largest rooms", {}, h("div", { class: "tools" }, field("Search", search)), nothing, rooms.element, note)),
    look: { view: "rooms" },
    update(data) {
      if (!data) return;
      nothing.hidden = data.rooms.length > 0;
      nothing.textContent = search.value ? "None of the largest rooms has this text in its topic." : "No room is open.";
      rooms.element.hidden = data.rooms.length === 0;
      list(rooms.body, data.rooms, ({ topic }) => topic, ({ topic, plugin, room }) => {
        const link = h("a", { href: `#/topic/${encodeURIComponent(topic)}` }, visible(topic));
        const kind = badge(room, room === "durable" ? "good" : "");
        const kinds = ["name", "", "", "number", "number", "number", "number", "number", ""];
        return row(kinds, (size) => [link, plugin, kind, bytes(size.room_bytes), number(size.entries), bytes(size.entries_bytes), bytes(size.published_bytes), bytes(size.dirty_bytes), size.rollback ?? "–"]);
      });
      const { memory_bytes, cached_bytes, dirty_bytes, journal_bytes } = data.entries;
      say(note, `The ${data.most} rooms with the most bytes are listed. Entries of all rooms: ${bytes(memory_bytes)} of memory rooms; of durable rooms ${bytes(cached_bytes)} stored and in memory, ${bytes(dirty_bytes)} not stored yet, ${bytes(journal_bytes)} kept for rollbacks.`);
    },
    close: () => clearTimeout(timer),
  };
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      page.look = { view: "rooms", search: search.value };
      shell.look(page.look);
    }, TYPED);
  });
  return page;
}
