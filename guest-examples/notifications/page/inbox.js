// A user's notifications in this tab: a channel of the official client, and the list that it has received.
//
// The list changes only when the host sends a change, so that it is the same in every tab. The inbox doesn't draw anything: after
// every change it calls `changed()`, for new notifications `arrived(notifications)`, and after each join `joined(channel, pushKey)`.

import { Socket } from "./phoenix.mjs";

/** The mount for users, which requires a token. */
const MOUNT = "/user";

export class Inbox {
  /**
   * @param {{user: string, token: string}} who
   * @param {{changed: () => void, arrived: (notifications: object[]) => void, joined: (channel: object, pushKey: string | null) => void}} watcher
   */
  constructor({ user, token }, watcher) {
    this.watcher = watcher;
    /** `connecting`, `connected`, `reconnecting`; or, finally, `stale` (the token) or `refused` (the join) */
    this.state = "connecting";
    /** The plugin's reason for a refused join. */
    this.reason = "";
    /** The newest notification is the first. */
    this.list = [];
    this.unread = 0;
    /** Whether there are notifications older than the list; unknown before the first join. */
    this.more = undefined;
    // `authToken` isn't part of the address, so no log of addresses contains the token.
    this.socket = new Socket(MOUNT, { authToken: token });
    this.socket.onError(() => this.#lost(token));
    this.socket.onClose(() => this.#lost(token));
    this.channel = this.#open(user);
    this.socket.connect();
  }

  read(id) {
    this.channel.push("read", { id });
  }

  /** Marks all notifications in the list as read. One that hasn't arrived yet stays unread. */
  readAll() {
    if (this.list.length > 0) this.channel.push("read_all", { to: this.list[0].id });
  }

  /** Adds the next page of older notifications to the list. */
  async older() {
    const page = await this.#page(this.list.at(-1)?.id);
    if (!page) return;
    this.list.push(...page.notifications);
    this.more = page.more;
    this.watcher.changed();
  }

  #open(user) {
    const channel = this.socket.channel(`user:${user}`);
    channel.on("notified", ({ notification, unread }) => {
      this.list.unshift(notification);
      this.unread = unread;
      this.watcher.changed();
      this.watcher.arrived([notification]);
    });
    channel.on("read", ({ id, unread }) => this.#markRead((each) => each.id === id, unread));
    channel.on("all_read", ({ to, unread }) => this.#markRead((each) => each.id <= to, unread));
    channel.onError(() => this.#become("reconnecting"));
    channel
      .join()
      // The client joins again by itself, and then gets the whole list, because it may have missed changes.
      .receive("ok", (told) => this.#told(told))
      .receive("error", ({ reason }) => {
        this.reason = String(reason ?? "");
        this.#end("refused");
      });
    return channel;
  }

  async #told({ notifications, unread, more, push_key: pushKey }) {
    const before = this.list;
    const wasHere = this.more !== undefined;
    this.list = notifications;
    this.unread = unread;
    this.more = more;
    this.#become("connected");
    this.watcher.joined(this.channel, pushKey);
    const newest = before[0]?.id ?? "";
    const missed = notifications.filter((each) => each.id > newest && !each.read);
    if (wasHere && missed.length > 0) this.watcher.arrived(missed);
    // If the user had loaded older pages, load as many again.
    while (this.more && this.list === notifications && this.list.length < before.length) {
      const length = this.list.length;
      await this.older();
      if (this.list.length === length) return;
    }
  }

  #page(before) {
    return new Promise((resolve) => {
      const asked = this.channel.push("older", { before });
      asked.receive("ok", resolve);
      for (const status of ["error", "timeout"]) asked.receive(status, () => resolve(undefined));
    });
  }

  #markRead(which, unread) {
    for (const each of this.list) if (which(each)) each.read = true;
    this.unread = unread;
    this.watcher.changed();
  }

  /** The connection is lost, or couldn't be made. The WebSocket doesn't give the reason, but a long-poll request does. */
  async #lost(token) {
    if (["stale", "refused"].includes(this.state)) return;
    if (this.state === "connected") this.#become("reconnecting");
    const headers = { "x-phoenix-authtoken": token };
    const asked = fetch(`${MOUNT}/longpoll?vsn=2.0.0`, { headers }).then((answer) => answer.json());
    const { status } = await asked.catch(() => ({}));
    if (status === 403) this.#end("stale");
  }

  /** Stops the client, which would otherwise reconnect forever. */
  #end(state) {
    this.#become(state);
    this.channel.leave();
    this.socket.disconnect();
  }

  #become(state) {
    if (["stale", "refused"].includes(this.state)) return;
    this.state = state;
    this.watcher.changed();
  }
}
