// The overview: charts from when the page opened, and the state of the host's parts.

import { chart } from "../chart.mjs";
import { badge, card, empty, h, list, row, say, table } from "../dom.mjs";
import { bytes, duration, number, percent, short, visible } from "../format.mjs";

const rate = (value) => `${short(value)}/s`;

const CHARTS = [
  { title: "Sockets", lines: [{ name: "sockets", label: "sockets", colour: "a" }, { name: "channels", label: "channels", colour: "b" }], show: short, least: 4 },
  { title: "Messages", hint: "From clients, and copies of broadcasts to members", lines: [{ name: "messages", label: "in", colour: "a" }, { name: "deliveries", label: "delivered", colour: "b" }], show: rate, least: 4 },
  { title: "Calls of plugins", lines: [{ name: "calls", label: "calls", colour: "a" }, { name: "faults", label: "faults", colour: "d" }], show: rate, least: 4 },
  { title: "CPU", hint: "Of all processors", lines: [{ name: "cpu", colour: "c" }], show: percent, least: 0.1 },
  { title: "Memory", hint: "Resident memory of the process", lines: [{ name: "memory", colour: "b" }], show: bytes, least: 1 << 20 },
  { title: "Traffic", hint: "Bytes of WebSocket connections", lines: [{ name: "sent_bytes", label: "out", colour: "a" }, { name: "received_bytes", label: "in", colour: "b" }], show: (value) => `${bytes(value)}/s`, least: 1024 },
];

export function overviewPage() {
  const charts = CHARTS.map(chart);
  const health = h("ul", { class: "facts" });
  const topics = table("Largest topics", [["Topic"], ["Members", "number"]]);
  const noTopics = empty("No topic has members.");
  const nodes = table("Nodes of the cluster", [["Node"], ["State"], ["Heard", "number"], ["Losses", "number"]]);
  const plugins = table("Plugins of the cluster", [["Plugin"], ["Serves"], ["Rollout"]]);
  const lease = h("ul", { class: "facts" });
  const troubles = h("ul", { class: "facts" });
  const cluster = card("Cluster", { hidden: true }, lease, nodes.element, plugins.element, troubles);
  const limits = h("ul", { class: "facts" });
  const refused = h("ul", { class: "facts" });
  const element = h("div", { class: "page" },
    h("h1", {}, "Overview"),
    h("div", { class: "charts" }, charts),
    h("div", { class: "columns" },
      card("Health", {}, health),
      cluster,
      card("Largest topics", {}, noTopics, topics.element),
      card("Refused and closed clients", {}, refused),
      card("Limits that were reached", {}, limits)));

  return {
    element,
    look: { view: "overview" },
    update(data, series) {
      for (const chart of charts) chart.update(series.points);
      if (!data) return;
      facts(health, healthOf(data));
      cluster.hidden = !data.cluster;
      if (data.cluster) showCluster(data.cluster, lease, nodes.body);
      if (data.cluster) showPlugins(data.cluster.plugins, plugins, troubles);
      noTopics.hidden = data.largest_topics.length > 0;
      topics.element.hidden = data.largest_topics.length === 0;
      list(topics.body, data.largest_topics, ({ topic }) => topic, ({ topic }) => {
        const link = h("a", { href: `#/topic/${encodeURIComponent(topic)}` }, visible(topic));
        return row(["name", "number"], ({ members }) => [link, number(members)]);
      });
      const { refused: not, closed } = data.state;
      const clients = [...happened(not, "refused"), ...happened(closed, "closed")];
      facts(refused, clients.length > 0 ? clients : [["None since the start", ""]]);
      const reached = Object.entries(data.limits).sort(([, one], [, other]) => other - one).slice(0, 12);
      facts(limits, reached.length > 0 ? reached.map(([name, hits]) => [name, number(hits)]) : [["None since the start", ""]]);
    },
  };
}

const happened = (counts, word) =>
  Object.entries(counts).filter(([, count]) => count > 0).map(([reason, count]) => [`${word}: ${reason}`, number(count)]);

const STATES = { own: ["this one", "good"], up: ["up", "good"], unheard: ["not heard yet", "warn"], silent: ["silent", "bad"], dead: ["dead", ""] };

/** The smallest difference of clocks that is shown. */
const CLOCK_SHOWN_MS = 5_000;

/** Shows the nodes as this one knows them, and its own lease. */
function showCluster({ is_good, lease, clock_ahead_ms, split_topics, nodes, counts }, parent, body) {
  facts(parent, [
    ["Lease", is_good ? "renewed" : "suspended", is_good ? "good" : "bad"],
    ...(lease.failure ? [[visible(lease.failure), "", undefined]] : []),
    ...(Math.abs(clock_ahead_ms) >= CLOCK_SHOWN_MS ? [[`Clock ${clock_ahead_ms > 0 ? "ahead of" : "behind"} the database's`, duration(Math.abs(clock_ahead_ms)), "warn"]] : []),
    ...(split_topics > 0 ? [["Sticky topics with members at several nodes", number(split_topics), "bad"]] : []),
    ["Members that had to join again", number(counts.members_rejoined), counts.members_rejoined > 0 ? "warn" : undefined],
    ["Messages that weren't sent", number(counts.messages_dropped), counts.messages_dropped > 0 ? "warn" : undefined],
  ]);
  list(body, nodes, ({ epoch }) => String(epoch), ({ name }) => {
    const state = h("span");
    return row(["name", "", "number", "number"], (node) => {
      const [text, kind] = node.is_draining && node.state !== "dead" ? ["stopping", "warn"] : STATES[node.state];
      if (state.textContent !== text) state.replaceChildren(badge(text, kind));
      const heard = node.heard_ms_ago === null || node.state === "dead" ? "–" : `${duration(node.heard_ms_ago)} ago`;
      return [visible(name), state, heard, number(node.losses)];
    });
  });
}

/** Shows what serves and what is prepared in the whole cluster, and which node can't load it. */
function showPlugins(plugins, { element, body }, parent) {
  const all = Object.entries(plugins);
  element.hidden = all.length === 0;
  list(body, all, ([name]) => name, ([name]) => row(["name", "", ""], ([, plugin]) => [visible(name), serves(plugin), rollout(plugin)]));
  facts(parent, all.flatMap(([name, { nodes, last_refusal }]) => [
    ...nodes.filter(({ trouble }) => trouble !== null).map(({ node, trouble }) => [visible(`${name} isn't served at ${node}: ${trouble}`), "", "bad"]),
    ...(last_refusal === null ? [] : [[visible(`The last rollout of ${name} was refused: ${last_refusal}`), "", "warn"]]),
  ]));
}

function serves({ serving }) {
  if (serving === null) return "–";
  const { generation, phase, probation } = serving;
  if (probation === null) return phase === "unproved" ? `generation ${generation}, unproved` : `generation ${generation}`;
  const { calls, calls_needed, faults, faults_tolerated } = probation;
  return `generation ${generation}, on probation: ${number(calls)} of ${number(calls_needed)} calls, ${faults} of ${faults_tolerated} tolerated faults`;
}

function rollout({ rollout, nodes }) {
  if (rollout === null) return "–";
  const missing = nodes.filter(({ is_prepared }) => !is_prepared).map(({ node }) => visible(node));
  return `${rollout.number}, begun at ${visible(rollout.by)}: ${missing.length === 0 ? "ready at all nodes" : `awaited from ${missing.join(", ")}`}`;
}

/** Each fact is a text, and a value with perhaps a colour. */
function facts(parent, all) {
  list(parent, all, ([name]) => name, ([name]) => {
    const value = h("span", { class: "number" });
    const element = h("li", {}, h("span", {}, name), value);
    element.update = ([, text, kind]) => {
      if (kind === undefined) say(value, text);
      else if (value.textContent !== text || !value.firstElementChild?.matches(`.${kind}`)) value.replaceChildren(badge(text, kind));
    };
    return element;
  });
}

function healthOf({ health, topic_count, memberships, state }) {
  const troubles = [...health.dead, ...health.unready.filter((reason) => !health.dead.includes(reason))];
  const { store, limited, jobs, deliveries, history, http } = state;
  return [
    ["Traffic", health.unready.length === 0 ? "ready" : "not ready", health.unready.length === 0 ? "good" : "bad"],
    ...troubles.map((reason) => [visible(reason), "", undefined]),
    ["Store", store.trouble ? "refuses writes" : "works", store.trouble ? "bad" : "good"],
    ["Clients that are refused now", number(limited.now.length), limited.now.length > 0 ? "warn" : undefined],
    ["Topics, memberships", `${number(topic_count)}, ${number(memberships)}`],
    ["Schedules", jobs.given_up > 0 ? `${number(jobs.all)}, ${number(jobs.given_up)} given up` : number(jobs.all), jobs.given_up > 0 ? "warn" : undefined],
    ["Webhooks", deliveries.given_up > 0 ? `${number(deliveries.all)}, ${number(deliveries.given_up)} given up` : number(deliveries.all), deliveries.given_up > 0 ? "warn" : undefined],
    ["Broadcasts kept for clients", `${number(history.broadcasts)}, ${bytes(history.bytes)}`],
    ["Requests by HTTP under way", number(http.under_way)],
    ["Lines of the log that were lost", number(state.log_lines_lost), state.log_lines_lost > 0 ? "warn" : undefined],
  ];
}
