// The last faults of plugins, each with its stack.

import { badge, card, empty, field, h, list, say } from "../dom.mjs";
import { ago, count, time, visible } from "../format.mjs";

export function faultsPage() {
  const search = h("input", { type: "search", spellcheck: "false", placeholder: "Plugin, callback, topic or text" });
  const all = h("div", { class: "faults" });
  const nothing = empty("No fault since the start.");
  const note = h("p", { class: "about" });
  let shown = [];
  const draw = () => {
    const wanted = search.value.toLowerCase();
    const found = shown.filter((fault) => Object.values(fault).join("\n").toLowerCase().includes(wanted));
    nothing.hidden = found.length > 0;
    nothing.textContent = shown.length > 0 ? "No fault has this text." : "No fault since the start.";
    list(all, found, keyOf, faultOf);
  };
  search.addEventListener("input", draw);
  return {
    element: h("div", { class: "page" }, h("h1", {}, "Faults"),
      card("Last faults", {}, h("div", { class: "tools" }, field("Search", search)), nothing, all, note)),
    look: { view: "faults" },
    update(data) {
      if (!data) return;
      shown = data.faults;
      say(note, `The last ${data.most} different faults are kept until the host stops. The log has all of them.`);
      draw();
    },
  };
}

const keyOf = ({ plugin, generation, callback, event, seat, kind, message, answered_by }) =>
  JSON.stringify([plugin, generation, callback, event, seat, kind, message, answered_by]);

/** The cause, what the call has printed, and the guest's own functions come in one line. Each function gets a line here. */
export function stackOf(message) {
  return visible(message).replaceAll(/; (?=in )|, (?=in |from )/g, "\n    ");
}

function faultOf({ plugin, generation, callback, event, seat, kind, message }) {
  const times = badge("", "bad");
  const [when, who] = [h("time"), h("p", { class: "about" })];
  const what = [callback, event !== null && `“${visible(event)}”`, seat !== null && `of the seat “${visible(seat)}”`].filter(Boolean).join(" ");
  const element = h("details", { class: "fault" },
    h("summary", {}, badge(kind, "bad"), h("strong", {}, `${visible(plugin)}: ${what}`), times, when, h("span", { class: "cause" }, visible(message))),
    who, h("pre", { tabindex: 0 }, stackOf(message)));
  element.update = ({ count: times_, last_ms, first_ms, topic, user, socket, member, peer, answered_by }) => {
    say(times, `${times_}×`);
    times.hidden = times_ === 1;
    say(when, ago(last_ms));
    when.title = time(last_ms);
    const facts = [`generation ${generation}`];
    if (topic) facts.push(`topic ${visible(topic)}`);
    if (user !== null) facts.push(`user ${visible(user)}`);
    if (socket !== null) facts.push(`socket ${visible(socket)}`);
    if (member !== null) facts.push(`member ${member}`);
    if (peer !== null) facts.push(`from ${peer}`);
    if (answered_by !== null) facts.push(`generation ${answered_by} answered instead`);
    if (times_ > 1) facts.push(`${count(times_, "time")} since ${time(first_ms)}; the last one is described`);
    say(who, facts.join(" · "));
  };
  return element;
}
