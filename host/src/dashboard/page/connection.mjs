// The connection to the dashboard's own channel.

import { Socket } from "./phoenix.mjs";

/** How long to wait before each attempt to connect again, in milliseconds. */
const PAUSES = [200, 500, 1000, 2000];

export class Connection {
  #socket;
  #channel;
  #look = { view: "counts" };
  /** Called with each push: the counts, and the data if they are of what is looked at now. */
  onData = () => {};
  /** Called with `connecting`, `open` or `lost`. */
  onState = () => {};
  /** Called with the facts about the host, after each join. */
  onHost = () => {};

  constructor() {
    this.#socket = new Socket("/dashboard/socket", { reconnectAfterMs: (tries) => PAUSES[tries - 1] ?? 5000, rejoinAfterMs: () => 1000 });
    this.#socket.onOpen(() => this.onState("open"));
    this.#socket.onClose(() => this.onState("lost"));
    this.#socket.onError(() => this.onState("lost"));
    this.#channel = this.#socket.channel("dashboard");
    this.#channel.on("data", ({ counts, look, data }) => this.onData(counts, same(look, this.#look) ? data : undefined));
  }

  open() {
    this.onState("connecting");
    this.#socket.connect();
    // The push waits for the join, and comes again after each later one.
    this.#channel.join().receive("ok", (host) => {
      this.onHost(host);
      this.look(this.#look);
    });
  }

  close() {
    this.#socket.disconnect();
  }

  /** Says what this page shows from now on. */
  look(look) {
    this.#look = look;
    if (this.#channel.state !== "joined") return;
    this.#channel.push("look", look).receive("ok", ({ data }) => {
      if (same(look, this.#look) && data !== null) this.onData(null, data);
    });
  }
}

/** Whether two looks are the same. The host sends the fields in another order. */
const same = (one, other) => text(one) === text(other);
const text = (look) => JSON.stringify(Object.entries(look ?? {}).sort(([a], [b]) => (a < b ? -1 : 1)));
