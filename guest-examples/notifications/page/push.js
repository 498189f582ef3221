// Push messages to this browser: the permission of the user, and the subscription that the browser makes and the plugin keeps.
//
// The service worker `worker.js` shows the messages, also when no page is open. A browser has one subscription to this page, so it
// belongs to one user.

/**
 * Where this browser notes the user of its subscription, with the token. A click on a message opens a window without a link, and this is
 * its user. An application with a session of its own needs no such note: its cookie says who the user is.
 */
const OWNER = "pushed";

export class Push {
  /**
   * @param {{user: string, token: string}} who
   * @param {() => void} changed is called after every change of `state`
   */
  constructor(who, changed) {
    this.who = who;
    this.changed = changed;
    /** `none`: not in this browser, or not on this host; `off`, `on`, `busy`, `denied` by the user, or `failed` */
    this.state = "none";
  }

  /** The user that a window without a link belongs to, if there is one. */
  static owner() {
    return JSON.parse(localStorage.getItem(OWNER) ?? "null");
  }

  /**
   * The page has joined. A plugin keeps a subscription for a limited time, so it gets it again.
   *
   * @param {string | null} key the key of the host, by which the push service knows the sender
   */
  async joined(channel, key) {
    this.channel = channel;
    this.key = key;
    const isPossible = "serviceWorker" in navigator && "PushManager" in window && "Notification" in window;
    if (!key || !isPossible) return this.#become("none");
    if (Notification.permission === "denied") return this.#become("denied");
    const registration = await navigator.serviceWorker.getRegistration();
    const subscription = await registration?.pushManager.getSubscription();
    if (!subscription || Push.owner()?.user !== this.who.user) return this.#become("off");
    const isKept = await this.#tell("subscribe", subscription.toJSON());
    // The link may have brought a new token.
    if (isKept) localStorage.setItem(OWNER, JSON.stringify(this.who));
    this.#become(isKept ? "on" : "failed");
  }

  /** The user wants messages. Browsers ask for the permission only after a click. */
  async turnOn() {
    this.#become("busy");
    try {
      if ((await Notification.requestPermission()) !== "granted") return this.#become(Notification.permission === "denied" ? "denied" : "off");
      await navigator.serviceWorker.register("worker.js");
      const { pushManager } = await navigator.serviceWorker.ready;
      // An earlier subscription may belong to another user, or to another key of the host.
      await (await pushManager.getSubscription())?.unsubscribe();
      const subscription = await pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: this.key });
      if (!(await this.#tell("subscribe", subscription.toJSON()))) throw new Error("the host has refused the subscription");
      localStorage.setItem(OWNER, JSON.stringify(this.who));
      this.#become("on");
    } catch (error) {
      console.info(`no push messages: ${error.message}`);
      this.#become("failed");
    }
  }

  /** The user wants no more messages. */
  async turnOff() {
    this.#become("busy");
    localStorage.removeItem(OWNER);
    const registration = await navigator.serviceWorker.getRegistration();
    const subscription = await registration?.pushManager.getSubscription();
    if (subscription) {
      await this.#tell("unsubscribe", { endpoint: subscription.endpoint });
      // If the host wasn't told, the push service tells it.
      await subscription.unsubscribe();
    }
    this.#become("off");
  }

  /** Returns whether the plugin has accepted it. */
  #tell(event, payload) {
    return new Promise((resolve) => {
      const told = this.channel.push(event, payload).receive("ok", () => resolve(true));
      for (const status of ["error", "timeout"]) told.receive(status, () => resolve(false));
    });
  }

  #become(state) {
    this.state = state;
    this.changed();
  }
}
