// The topics that have members: searched by a part of their names, a page at a time.

import { card, empty, field, h, list, row, table } from "../dom.mjs";
import { number, visible } from "../format.mjs";

/** The time after the last key until a search begins, in milliseconds. */
const TYPED = 200;

export function topicsPage(shell) {
  let [after, timer] = [[undefined], null];
  const search = h("input", { type: "search", spellcheck: "false", placeholder: "Part of a name" });
  const [back, next] = [h("button", { on: { click: () => turn(-1) } }, "Previous"), h("button", { on: { click: () => turn(1) } }, "Next")];
  const topics = table("Topics", [["Topic"], ["Plugin"], ["Members", "number"]]);
  const nothing = empty("No topic has members.");
  let following = null;
  const page = {
    element: h("div", { class: "page" }, h("h1", {}, "Topics"),
      card("Topics with members", {}, h("div", { class: "tools" }, field("Search", search)), nothing, topics.element,
        h("div", { class: "buttons" }, back, next))),
    look: { view: "topics" },
    update(data) {
      if (!data) return;
      nothing.hidden = data.topics.length > 0;
      nothing.textContent = search.value ? "No topic with members has this text in its name." : "No topic has members.";
      topics.element.hidden = data.topics.length === 0;
      list(topics.body, data.topics, ({ topic }) => topic, ({ topic }) => {
        const link = h("a", { href: `#/topic/${encodeURIComponent(topic)}` }, visible(topic));
        return row(["name", "", "number"], ({ plugin, members }) => [link, plugin ?? "none", number(members)]);
      });
      following = data.next;
      back.hidden = after.length === 1;
      next.hidden = following === null;
    },
    close: () => clearTimeout(timer),
  };
  back.hidden = next.hidden = true;

  function look() {
    page.look = { view: "topics", search: search.value, ...(after.at(-1) !== undefined && { after: after.at(-1) }) };
    shell.look(page.look);
  }
  function turn(by) {
    if (by > 0 && following !== null) after.push(following);
    else if (by < 0 && after.length > 1) after.pop();
    look();
  }
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      after = [undefined];
      look();
    }, TYPED);
  });
  return page;
}
