// A client of the host's own topics: joins a topic as any user, pushes events, and shows each frame.

import { tell } from "../actions.mjs";
import { badge, card, field, h, say, set } from "../dom.mjs";
import { pretty, visible } from "../format.mjs";
import { Socket } from "../phoenix.mjs";

/** The most frames that are shown. */
const FRAMES_MAX = 300;

/** The most characters that are shown of a frame. */
const FRAME_CHARACTERS_MAX = 20_000;

export function playgroundPage(_, topic) {
  return new Playground(topic);
}

class Playground {
  look = { view: "counts" };
  #socket = null;
  #channel = null;
  #topic = h("input", { type: "text", required: true, maxlength: 255, spellcheck: "false", placeholder: "room:lobby" });
  #user = h("input", { type: "text", maxlength: 255, spellcheck: "false", placeholder: "Anonymous" });
  #claims = h("textarea", { rows: 2, spellcheck: "false" }, "{}");
  #params = h("textarea", { rows: 3, spellcheck: "false" }, "{}");
  #event = h("input", { type: "text", required: true, maxlength: 255, spellcheck: "false", placeholder: "new_msg" });
  #payload = h("textarea", { rows: 4, spellcheck: "false" }, "{}");
  #join = h("button", { class: "primary" }, "Join");
  #leave = h("button", { type: "button", on: { click: () => this.#end("left") } }, "Leave");
  #push = h("button", { class: "primary" }, "Push");
  #state = badge("not joined");
  #problem = h("p", { class: "problem", role: "alert" });
  #frames = h("ol", { class: "frames", tabindex: 0, "aria-label": "Frames" });
  #heartbeats = h("input", { type: "checkbox" });
  #none = h("p", { class: "empty" }, "Frames appear here, the last one first.");

  constructor(topic) {
    this.#topic.value = topic;
    const clear = h("button", { type: "button", on: { click: () => this.#clear() } }, "Clear");
    this.element = h("div", { class: "page" }, h("h1", {}, "Playground"),
      h("p", { class: "about" }, "You are a client of this host: what you do here is real, and members see it. The log says that you connected, and as whom."),
      h("div", { class: "columns playground" },
        h("div", {},
          card("Join", {}, h("form", { class: "stack", on: { submit: (event) => this.#joinTopic(event) } },
            field("Topic", this.#topic), field("User", this.#user, "The token or gatekeeper of a mount isn't asked."),
            field("Claims", this.#claims), field("Params of the join", this.#params), this.#problem,
            h("div", { class: "buttons" }, this.#join, this.#leave, this.#state))),
          card("Push", {}, h("form", { class: "stack", on: { submit: (event) => this.#pushEvent(event) } },
            field("Event", this.#event), field("Payload", this.#payload), h("div", { class: "buttons" }, this.#push)))),
        card("Frames", { class: "log" }, h("div", { class: "tools" }, h("label", { class: "check" }, this.#heartbeats, " Show heartbeats"), clear), this.#none, this.#frames)));
    this.#tell("not joined", "");
  }

  update() {}

  close() {
    this.#end("");
  }

  #tell(state, kind) {
    say(this.#state, state);
    this.#state.className = `badge ${kind}`;
    const isOpen = this.#socket !== null;
    this.#join.disabled = isOpen;
    this.#leave.disabled = !isOpen;
    this.#push.disabled = state !== "joined";
    for (const control of [this.#topic, this.#user, this.#claims, this.#params]) control.disabled = isOpen;
  }

  #joinTopic(event) {
    event.preventDefault();
    say(this.#problem, "");
    const [claims, params] = [object(this.#claims), object(this.#params)];
    if (!claims || !params) return say(this.#problem, `${claims ? "The params" : "The claims"} must be a JSON object.`);
    const transport = recording((way, frame) => this.#record(way, frame));
    const identity = { playground_user: this.#user.value, playground_claims: JSON.stringify(claims) };
    this.#socket = new Socket("/dashboard/playground", { transport, params: identity, reconnectAfterMs: () => 5000, rejoinAfterMs: () => 5000 });
    this.#socket.onError(() => this.#tell("no connection", "bad"));
    this.#channel = this.#socket.channel(this.#topic.value, params);
    this.#channel.onError(() => this.#tell("crashed; joins again", "bad"));
    this.#channel.onClose(() => this.#end("closed by the host"));
    this.#socket.connect();
    this.#tell("joining", "warn");
    this.#channel.join()
      .receive("ok", () => {
        this.#tell("joined", "good");
        this.#event.focus();
      })
      .receive("error", (reason) => {
        say(this.#problem, `The join is refused: ${visible(JSON.stringify(reason))}`);
        this.#end("refused");
      })
      .receive("timeout", () => this.#tell("no answer yet", "warn"));
  }

  #pushEvent(event) {
    event.preventDefault();
    const payload = object(this.#payload);
    if (!payload) return tell("The payload must be a JSON object.", "bad");
    this.#channel?.push(this.#event.value, payload);
  }

  #end(state) {
    const socket = this.#socket;
    [this.#socket, this.#channel] = [null, null];
    socket?.disconnect();
    this.#tell(state, state === "left" ? "" : "bad");
  }

  #record(way, frame) {
    const entry = frameOf(way, frame);
    if (entry.isHeartbeat && !this.#heartbeats.checked) return;
    this.#none.hidden = true;
    this.#frames.prepend(entry.element);
    while (this.#frames.children.length > FRAMES_MAX) this.#frames.lastChild.remove();
  }

  #clear() {
    this.#frames.replaceChildren();
    this.#none.hidden = false;
  }
}

/** The object in a text field, or null. A field that is wrong is marked. */
function object(control) {
  let value = null;
  try {
    value = JSON.parse(control.value.trim() || "{}");
  } catch {
    // It is marked below.
  }
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  set(control, "aria-invalid", isObject ? null : "true");
  return isObject ? value : null;
}

/** A WebSocket that tells each of its frames. */
function recording(tell) {
  return class extends WebSocket {
    constructor(...given) {
      super(...given);
      this.addEventListener("message", ({ data }) => tell("in", data));
    }

    send(data) {
      tell("out", data);
      super.send(data);
    }
  };
}

/** The element of a frame. */
function frameOf(way, frame) {
  const now = new Date();
  const clock = `${now.toLocaleTimeString("en-GB")}.${String(now.getMilliseconds()).padStart(3, "0")}`;
  const arrow = h("span", { class: `way ${way}` }, way === "out" ? "→" : "←", h("span", { class: "hidden" }, way === "out" ? "sent" : "received"));
  if (typeof frame !== "string") {
    const element = h("li", {}, arrow, h("time", {}, clock), h("strong", {}, "binary"), h("pre", {}, `${frame.byteLength ?? frame.size} bytes`));
    return { element, isHeartbeat: false };
  }
  let [joinRef, ref, topic, event, payload] = [null, null, "", "", frame];
  try {
    [joinRef, ref, topic, event, payload] = JSON.parse(frame);
    payload = JSON.stringify(payload);
  } catch {
    // It is shown as it is.
  }
  const isHeartbeat = topic === "phoenix";
  const status = event === "phx_reply" ? safeStatus(payload) : null;
  const text = pretty(payload);
  const element = h("li", {}, arrow, h("time", {}, clock), h("strong", {}, visible(event)), status && badge(status, status === "ok" ? "good" : "bad"),
    h("small", {}, `${visible(topic)} · join ref ${joinRef ?? "–"} · ref ${ref ?? "–"}`),
    h("pre", {}, visible(text.length > FRAME_CHARACTERS_MAX ? `${text.slice(0, FRAME_CHARACTERS_MAX)}…` : text)));
  return { element, isHeartbeat };
}

function safeStatus(payload) {
  const { status } = JSON.parse(payload) ?? {};
  return typeof status === "string" ? visible(status) : null;
}
