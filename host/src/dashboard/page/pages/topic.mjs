// One topic: its members, and who is present.

import { disconnect, kick } from "../actions.mjs";
import { card, empty, field, h, list, row, say, table } from "../dom.mjs";
import { count, number, visible } from "../format.mjs";

const TYPED = 200;

export function topicPage(shell, topic) {
  let [from, timer] = [0, null];
  const search = h("input", { type: "search", spellcheck: "false", placeholder: "User, socket, member or key" });
  const about = h("p", { class: "about" });
  const [back, next] = [h("button", { on: { click: () => turn(-1) } }, "Previous"), h("button", { on: { click: () => turn(1) } }, "Next")];
  const members = table("Members", [["Member"], ["User"], ["Socket"], ...(shell.mayOperate ? [["", "actions"]] : [])], true);
  const present = table("Presences", [["Key"], ["Metas"]]);
  const [noMembers, noPresences] = [empty("No member."), empty("Nobody is tracked.")];
  const [memberTitle, presenceTitle] = [card("Members", {}), card("Presence", {})];
  memberTitle.append(noMembers, members.element);
  presenceTitle.append(noPresences, present.element);
  const tryIt = shell.mayOperate && h("a", { class: "button", href: `#/playground/${encodeURIComponent(topic)}` }, "Join in the playground");
  const page = {
    title: visible(topic),
    element: h("div", { class: "page" },
      h("p", { class: "path" }, h("a", { href: "#/topics" }, "Topics")), h("h1", { class: "name" }, visible(topic)), about,
      h("div", { class: "tools" }, field("Search", search), tryIt),
      h("div", { class: "columns wide" }, memberTitle, presenceTitle), h("div", { class: "buttons" }, back, next)),
    look: { view: "topic", topic },
    update(data) {
      if (!data) return;
      const room = data.has_room ? ", with a room" : "";
      say(about, data.plugin === null ? "No plugin serves this topic." : `${data.plugin}, generation ${data.generation}, by the route ${visible(data.pattern)}${room}`);
      say(memberTitle.firstChild, count(data.members, "member"));
      say(presenceTitle.firstChild, `${number(data.presences)} present`);
      noMembers.hidden = data.people.length > 0;
      members.element.hidden = data.people.length === 0;
      noPresences.hidden = data.online.length > 0;
      present.element.hidden = data.online.length === 0;
      list(members.body, data.people, ({ member }) => String(member), memberRow);
      list(present.body, data.online, ({ key }) => key, ({ key }) =>
        row(["name", "code"], ({ metas, count }) => [visible(key), visible(metas.join("\n")) + (count > metas.length ? `\nand ${count - metas.length} more` : "")]));
      back.hidden = from === 0;
      next.hidden = from + data.rows >= Math.max(data.people_found, data.presences_found);
    },
    close: () => clearTimeout(timer),
  };
  back.hidden = next.hidden = true;

  function memberRow({ member, user, socket_id }) {
    const who = user ?? `member ${member}`;
    const buttons = shell.mayOperate && h("div", { class: "buttons" },
      h("button", { on: { click: ({ target }) => kick(target, topic, member, visible(who)) } }, "Kick"),
      socket_id && h("button", { on: { click: ({ target }) => disconnect(target, socket_id) } }, "Disconnect"));
    const kinds = ["", "name", "name", ...(buttons ? ["actions"] : [])];
    return row(kinds, () => [number(member), visible(user ?? "–"), visible(socket_id ?? "–"), ...(buttons ? [buttons] : [])], ["Member", "User", "Socket"]);
  }
  function look() {
    page.look = { view: "topic", topic, search: search.value, from };
    shell.look(page.look);
  }
  function turn(by) {
    from = Math.max(0, from + by * 50);
    look();
  }
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      from = 0;
      look();
    }, TYPED);
  });
  return page;
}
