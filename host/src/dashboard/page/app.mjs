// The dashboard: signs in, shows the page that the address names, and gives it what the host pushes.

import { messageArea, tell } from "./actions.mjs";
import { Connection } from "./connection.mjs";
import { h, say, set } from "./dom.mjs";
import { duration, short } from "./format.mjs";
import { faultsPage } from "./pages/faults.mjs";
import { overviewPage } from "./pages/overview.mjs";
import { playgroundPage } from "./pages/playground.mjs";
import { pluginsPage } from "./pages/plugins.mjs";
import { roomsPage } from "./pages/rooms.mjs";
import { storePage } from "./pages/store.mjs";
import { topicPage } from "./pages/topic.mjs";
import { topicsPage } from "./pages/topics.mjs";
import { session, signOut, whenSessionEnds } from "./requests.mjs";
import { Series } from "./series.mjs";
import { signInPage } from "./sign_in.mjs";

/**
 * The pages by the first part of the address. `make` gets the shell and the rest of the address, and returns the page: its `element`,
 * what it shows (`look`), `update(data, series)`, and perhaps `close()`. Only the ones with a label are in the menu.
 */
const PAGES = {
  overview: { label: "Overview", make: overviewPage },
  topics: { label: "Topics", make: topicsPage },
  topic: { under: "topics", make: topicPage },
  rooms: { label: "Rooms", make: roomsPage },
  plugins: { label: "Plugins", make: pluginsPage },
  faults: { label: "Faults", make: faultsPage },
  store: { label: "Store", make: storePage },
  playground: { label: "Playground", make: playgroundPage, operates: true },
};

/** The page of the whole window: the menu, and the page that the address names. */
class Shell {
  #connection = new Connection();
  #series = new Series();
  #page = null;
  #menu = {};
  #state = h("span", { class: "state" }, h("i"), h("span", {}, "Connecting"));
  #host = h("span", { class: "host" });
  #faults = h("span", { class: "count", hidden: true });
  #main = h("main", { id: "main", tabindex: -1 });
  #lost = h("p", { class: "lost", role: "alert", hidden: true }, "The host doesn't answer. The page shows the last values, and connects again by itself.");
  #leave = new AbortController();

  constructor(session) {
    this.mayOperate = session.may_operate;
    const links = Object.entries(PAGES).filter(([, { label, operates }]) => label && (!operates || this.mayOperate));
    const menu = h("nav", { "aria-label": "Pages" }, links.map(([name, { label }]) => {
      this.#menu[name] = h("a", { href: `#/${name}` }, label, name === "faults" && this.#faults);
      return this.#menu[name];
    }));
    const out = h("button", { class: "plain", on: { click: () => this.#signOut() } }, "Sign out");
    const scope = this.mayOperate ? "may operate" : "reads only";
    this.element = h("div", { class: "shell" },
      h("a", { class: "skip", href: "#main", on: { click: (event) => (event.preventDefault(), this.#main.focus()) } }, "Skip to the content"),
      h("header", { class: "side" },
        h("a", { class: "brand", href: "#/overview" }, h("img", { src: "/dashboard/icon.svg", alt: "", width: 30, height: 30 }), h("span", {}, "Bennu")),
        menu,
        h("div", { class: "foot" }, this.#state, this.#host, h("span", { class: "who", title: `The session ends in ${duration(session.rest_ms)}` }, `${session.key} · ${scope}`), out)),
      h("div", { class: "content" }, this.#lost, this.#main), messageArea());
    addEventListener("hashchange", () => this.#route(), { signal: this.#leave.signal });
    this.#connection.onData = (counts, data) => this.#show(counts, data);
    this.#connection.onState = (state) => this.#told(state);
    this.#connection.onHost = (host) => {
      this.#series.processors = host.processors;
      say(this.#host, `Bennu ${host.version}, up ${duration(host.uptime_ms)}`);
    };
    this.#route();
    this.#connection.open();
  }

  /** Says what the page looks at from now on. */
  look(look) {
    this.#connection.look(look);
  }

  close() {
    this.#leave.abort();
    this.#page?.close?.();
    this.#connection.close();
  }

  #route() {
    const [, name, rest = ""] = /^#\/([a-z]+)\/?(.*)$/.exec(location.hash) ?? [null, "overview"];
    const known = PAGES[name] && (!PAGES[name].operates || this.mayOperate) ? name : "overview";
    let argument = "";
    try {
      argument = decodeURIComponent(rest);
    } catch {
      // An address that isn't ours.
    }
    this.#page?.close?.();
    this.#page = PAGES[known].make(this, argument);
    this.#main.replaceChildren(this.#page.element);
    const menu = PAGES[known].under ?? known;
    for (const [name, link] of Object.entries(this.#menu)) set(link, "aria-current", name === menu ? "page" : null);
    this.#menu[menu]?.scrollIntoView({ block: "nearest", inline: "nearest" });
    document.title = `${this.#page.title ?? PAGES[known].label} · Bennu`;
    scrollTo(0, 0);
    this.#page.update?.(undefined, this.#series);
    this.look(this.#page.look);
  }

  #show(counts, data) {
    if (counts) {
      this.#series.add(counts, Date.now());
      say(this.#faults, short(counts.faults));
      this.#faults.hidden = counts.faults === 0;
    }
    this.#page.update?.(data, this.#series);
  }

  async #told(state) {
    const word = { open: "Live", connecting: "Connecting", lost: "Reconnecting" }[state];
    set(this.#state, "data-state", state);
    say(this.#state.lastChild, word);
    this.#lost.hidden = state !== "lost";
    set(this.element, "data-state", state);
    if (state !== "lost") return;
    this.#series.interrupt();
    // A connection is also lost when the session has ended.
    const open = await session().catch(() => undefined);
    if (open === null) ended();
  }

  async #signOut() {
    try {
      await signOut();
      start(null);
    } catch (error) {
      tell(error.message, "bad");
    }
  }
}

let shell = null;

/** Shows the dashboard of a session, or the page to sign in. */
function start(session, why) {
  shell?.close();
  shell = session ? new Shell(session) : null;
  const page = shell ? shell.element : signInPage(start, why);
  if (!shell) document.title = "Bennu dashboard";
  document.body.replaceChildren(page);
  if (!shell) page.querySelector("input").focus();
}

function ended() {
  if (shell) start(null, "The session has ended. Sign in again.");
}

whenSessionEnds(ended);
try {
  start(await session());
} catch (error) {
  start(null, error.message);
}
