// What plugins have stored: how much, and, for an operator, the rows.

import { card, empty, field, h, list, row, say, table } from "../dom.mjs";
import { bytes, pretty, time, visible } from "../format.mjs";
import { request, withParams } from "../requests.mjs";

/** The rows of one page. */
const LIMIT = 50;

export function storePage(shell) {
  const stores = table("Plugins with data", [["Data of"], ["Bytes", "number"]]);
  const nothing = empty("Nothing is stored.");
  const trouble = h("p", { class: "problem", role: "alert", hidden: true });
  const reader = shell.mayOperate ? new Reader() : null;
  return {
    element: h("div", { class: "page" }, h("h1", {}, "Store"), trouble,
      h("div", { class: reader ? "columns reader" : "" }, card("Data of plugins", {}, nothing, stores.element), reader?.element)),
    look: { view: "store" },
    update(data) {
      if (!data) return;
      const why = data.error ?? data.trouble?.reason;
      trouble.hidden = !why;
      say(trouble, why ? `The store is in trouble: ${visible(why)}` : "");
      nothing.hidden = data.stores.length > 0;
      stores.element.hidden = data.stores.length === 0;
      list(stores.body, data.stores, ({ store }) => store, ({ store }) => {
        const name = reader ? h("button", { class: "link", on: { click: () => reader.open(store) } }, visible(store)) : visible(store);
        return row(["name", "number"], (of) => [name, bytes(of.bytes)]);
      });
      reader?.offer(data.stores.map(({ store }) => store));
    },
  };
}

/** Reads rows. Each look is a call of the API, which is logged. */
class Reader {
  #names = h("datalist", { id: "stores" });
  #plugin = h("input", { type: "text", required: true, spellcheck: "false", list: "stores" });
  #kind = h("select", {}, h("option", { value: "keys" }, "keys"), h("option", { value: "rooms" }, "durable rooms"), h("option", { value: "entries" }, "entries of a topic"));
  #topic = h("input", { type: "text", spellcheck: "false" });
  #topicField = field("Topic", this.#topic);
  #prefix = h("input", { type: "text", spellcheck: "false", placeholder: "All" });
  #rows = table("Rows", [["Key"], ["Value"]]);
  #note = h("p", { class: "about", role: "status" }, "Choose data, and scan a prefix or get one key.");
  #more = h("button", { hidden: true, on: { click: () => this.#scan(this.#next) } }, "More rows");
  #next = null;
  #shown = [];

  constructor() {
    this.#topicField.hidden = true;
    this.#rows.element.hidden = true;
    this.#kind.addEventListener("change", () => {
      this.#topicField.hidden = this.#kind.value !== "entries";
      this.#topic.required = this.#kind.value === "entries";
    });
    const form = h("form", { class: "tools", on: { submit: (event) => this.#submit(event) } },
      field("Data of", this.#plugin), field("Rows", this.#kind), this.#topicField, field("Key or prefix", this.#prefix),
      h("div", { class: "buttons" }, h("button", { class: "primary", value: "scan" }, "Scan"), h("button", { value: "get" }, "Get")));
    this.element = card("Rows", {}, form, this.#names, this.#rows.element, this.#note, h("div", { class: "buttons" }, this.#more));
  }

  offer(names) {
    list(this.#names, names, (name) => name, (name) => h("option", { value: name }));
  }

  open(name) {
    this.#plugin.value = name;
    this.#prefix.value = "";
    this.#scan(null);
  }

  #params() {
    const kind = this.#kind.value;
    return { plugin: this.#plugin.value, rooms: kind === "rooms" ? "true" : undefined, topic: kind === "entries" ? this.#topic.value : undefined };
  }

  #submit(event) {
    event.preventDefault();
    if (event.submitter?.value === "get") this.#get();
    else this.#scan(null);
  }

  async #get() {
    await this.#ask(async () => {
      const found = await request("GET", withParams("/api/store/row", { ...this.#params(), key: this.#prefix.value }));
      this.#next = null;
      this.#show([found], "1 row");
    });
  }

  async #scan(after) {
    await this.#ask(async () => {
      const params = { ...this.#params(), prefix: this.#prefix.value, after, limit: String(LIMIT) };
      const { rows, next } = await request("GET", withParams("/api/store/rows", params));
      this.#next = next;
      const all = after === null ? rows : [...this.#shown, ...rows];
      this.#show(all, all.length === 0 ? "No row begins so." : `${all.length} ${all.length === 1 ? "row" : "rows"}${next ? ", and there are more" : ""}`);
    });
  }

  async #ask(doing) {
    say(this.#note, "Reading…");
    try {
      await doing();
    } catch (error) {
      this.#next = null;
      this.#show([], error.message);
    }
  }

  #show(rows, note) {
    this.#shown = rows;
    this.#more.hidden = this.#next === null;
    this.#rows.element.hidden = rows.length === 0;
    this.#rows.body.replaceChildren(...rows.map((found) => {
      const { key, value, facts } = read(found);
      return h("tr", {}, h("td", { class: "name" }, key),
        h("td", { class: "code" }, h("details", {}, h("summary", {}, shorten(value)), facts && h("small", {}, facts), h("pre", { tabindex: 0 }, value))));
    }));
    say(this.#note, note);
  }
}

/** The key, the value and further facts of a row of an export. */
function read(found) {
  const name = ["key", "room", "entry", "schedule"].find((name) => found[name] !== undefined || found[`${name}_base64`] !== undefined) ?? "key";
  const key = found[name] !== undefined ? visible(found[name]) : `base64: ${found[`${name}_base64`]}`;
  const value = found.value !== undefined ? visible(pretty(found.value)) : `base64: ${found.value_base64 ?? ""}`;
  const facts = [found.version !== undefined && `version ${found.version}`, found.expires_ms !== undefined && `expires ${time(found.expires_ms)}`].filter(Boolean).join(", ");
  return { key, value, facts };
}

const shorten = (text) => {
  const line = text.replaceAll(/\s+/g, " ");
  return line.length > 120 ? `${line.slice(0, 120)}…` : line || "empty";
};
