// The plugins: generations, probations, instances, and commands.

import { COMMANDS, command } from "../actions.mjs";
import { badge, empty, h, list, say } from "../dom.mjs";
import { ago, bytes, count, duration, number, visible } from "../format.mjs";

export function pluginsPage(shell) {
  const cards = h("div", { class: "plugins" });
  const nothing = empty("This host has no plugin.");
  return {
    element: h("div", { class: "page" }, h("h1", {}, "Plugins"), nothing, cards),
    look: { view: "plugins" },
    update(data) {
      if (!data) return;
      const plugins = Object.entries(data.plugins);
      nothing.hidden = plugins.length > 0;
      list(cards, plugins, ([name]) => name, ([name]) => pluginCard(shell, name));
    },
  };
}

function pluginCard(shell, name) {
  const [state, problem, facts] = [h("span", { class: "badges" }), h("p", { class: "problem" }), h("dl")];
  const buttons = shell.mayOperate && h("div", { class: "buttons" }, Object.entries(COMMANDS).map(([what, { label }]) =>
    h("button", { class: what === "unload" ? "danger" : false, on: { click: ({ target }) => command(target, name, what) } }, label)));
  const element = h("section", { class: "card plugin", "aria-label": name }, h("header", {}, h("h2", {}, visible(name)), state), problem, facts, buttons);
  element.update = ([, plugin]) => {
    list(state, badges(plugin), ([text]) => text, ([text, kind]) => badge(text, kind));
    say(problem, plugin.last_error === null ? "" : `The last load was refused: ${visible(plugin.last_error)}`);
    problem.hidden = plugin.last_error === null;
    list(facts, rows(plugin), ([term]) => term, ([term]) => {
      const value = h("dd");
      const pair = h("div", {}, h("dt", {}, term), value);
      pair.update = ([, text]) => say(value, text);
      return pair;
    });
  };
  return element;
}

function badges(plugin) {
  const { generation, kind, standing, probation, is_loading, is_unloaded, is_rolled_back, file_is_gone } = plugin;
  const found = [generation > 0 ? [`generation ${generation}`, "good"] : ["not served", "bad"]];
  if (kind === "gatekeeper") found.push(["gatekeeper", ""]);
  if (standing === "on-probation" && probation) found.push([`on probation`, "warn"]);
  else if (standing) found.push([standing, ""]);
  if (is_loading) found.push(["loading", "warn"]);
  if (is_unloaded) found.push(["unloaded", "warn"]);
  if (is_rolled_back) found.push(["rolled back", "warn"]);
  if (file_is_gone) found.push(["file is gone", "warn"]);
  return found;
}

function rows(plugin) {
  const { usage, probation, taken_back, loads, topics } = plugin;
  const found = [];
  if (topics.length > 0) found.push(["Topics", visible(topics.join("  "))]);
  if (plugin.language) found.push(["Language", visible(plugin.language)]);
  found.push(["Instances", `${number(usage.instances)}, ${number(usage.instances_idle)} idle, ${bytes(usage.memory_bytes)}`]);
  found.push(["Calls", `${number(usage.calls)} in ${duration(usage.cpu_ms)} of CPU time`]);
  found.push(["Waits for an instance", number(plugin.waits)]);
  found.push(["Faults", number(usage.faults)]);
  if (probation) {
    const instead = probation.instead === null ? "no build to roll back to" : `generation ${probation.instead} serves again if it fails`;
    found.push(["Probation", `${count(probation.calls, "call")}, ${count(probation.faults, "fault")}; ${instead}`]);
  }
  if (taken_back) found.push(["Rolled back by the host", `generation ${taken_back.generation}, ${ago(taken_back.at_ms)}, after ${count(taken_back.faults, "fault")}`]);
  found.push(["Builds", `${number(loads.published)} served, ${number(loads.refused)} refused, ${number(loads.rollbacks)} rolled back`]);
  if (plugin.generation > 0) found.push(["Loaded", `${ago(plugin.loaded_at_ms)}, ${bytes(plugin.bytes)}, contract ${plugin.contract}`]);
  found.push(["File", visible(plugin.file)]);
  if (plugin.digest) found.push(["SHA-256", plugin.digest]);
  return found;
}
