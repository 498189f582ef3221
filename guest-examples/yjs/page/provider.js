// Connects a document of Yjs to a channel of the plugin `yjs`, through the official Phoenix client. Copy this file to your
// own page. It needs the npm packages phoenix, yjs, y-protocols and lib0.
//
// Changes that are made while the connection is lost stay in the document, and are sent when the channel has joined again.

import { createDecoder, readVarUint, readVarUint8Array } from "lib0/decoding";
import { createEncoder, toUint8Array, writeVarUint, writeVarUint8Array } from "lib0/encoding";
import { applyAwarenessUpdate, Awareness, encodeAwarenessUpdate, removeAwarenessStates } from "y-protocols/awareness";
import { applyUpdate, encodeStateAsUpdate, encodeStateVector, mergeUpdates } from "yjs";

/** The kinds of `sync` messages. */
const STEP_1 = 0, STEP_2 = 1, UPDATE = 2;

/** The largest message that is sent. The host closes a connection for a longer one (`frame_bytes`). */
const MESSAGE_BYTES_MAX = 1_000_000;

/** An update that changes nothing. */
const EMPTY_BYTES = 2;

export class Provider {
  /** Whether the document has everything that the server had when this client joined. */
  #isComplete = false;
  /** The updates that the server doesn't have yet, since the last join. */
  #waiting = [];
  #isSending = false;
  /** Counts the joins. What belongs to an earlier one is ignored. */
  #joins = 0;
  #listeners;

  /**
   * @param {import("phoenix").Socket} socket
   * @param {string} topic such as `doc:notes`
   * @param {import("yjs").Doc} doc
   * @param {{params?: object, awareness?: Awareness, onChange?: (provider: Provider) => void, onError?: (reason: string) => void}} options
   * `onChange` is told when `synced` may have changed, and `onError` when the server refuses something
   */
  constructor(socket, topic, doc, { params = {}, awareness = new Awareness(doc), onChange = () => {}, onError = console.error } = {}) {
    Object.assign(this, { doc, awareness, onChange, onError, channel: socket.channel(topic, params) });
    this.#listeners = {
      update: (update, origin) => origin !== this && this.channel.state === "joined" && this.#send(update),
      awareness: ({ added, updated, removed }) => [...added, ...updated, ...removed].includes(doc.clientID) && this.#show(),
    };
    doc.on("update", this.#listeners.update);
    awareness.on("update", this.#listeners.awareness);
    this.channel.on("sync", (bytes) => this.#apply(bytes));
    this.channel.on("awareness", (bytes) => applyAwarenessUpdate(awareness, new Uint8Array(bytes), this));
    this.channel.on("who", () => this.#show());
    this.channel.onError(() => this.#lost());
    this.channel.onClose(() => this.#lost());
    this.channel.join().receive("ok", (state) => this.#joined(state)).receive("error", ({ reason }) => onError(reason));
  }

  /** Whether the document and the server have the same changes, as far as this client knows. */
  get synced() {
    return this.#isComplete && !this.#isSending && this.#waiting.length === 0;
  }

  /** Leaves the channel, and ends the timer of the awareness. */
  destroy() {
    this.doc.off("update", this.#listeners.update);
    this.awareness.off("update", this.#listeners.awareness);
    this.awareness.destroy();
    this.channel.leave();
  }

  /** Exchanges what both sides lack. `state` is the server's step 1. */
  #joined(state) {
    const join = ++this.#joins;
    [this.#waiting, this.#isSending] = [[], false];
    this.#send(encodeStateAsUpdate(this.doc, read(state).body));
    this.#push("sync", message(STEP_1, encodeStateVector(this.doc)), (answer) => {
      if (join !== this.#joins) return;
      this.#apply(answer);
      this.#isComplete = true;
      this.onChange(this);
    });
    this.#show();
  }

  /** Sends an update after those that wait. While the server stores one, all others become one. */
  #send(update) {
    if (update.length > EMPTY_BYTES) this.#waiting.push(update);
    if (this.#isSending || this.#waiting.length === 0) return;
    const merged = mergeUpdates(this.#waiting), join = this.#joins;
    if (merged.length > MESSAGE_BYTES_MAX) return this.onError(`a change of ${merged.length} bytes is too large`);
    [this.#waiting, this.#isSending] = [[], true];
    this.onChange(this);
    const done = (next) => () => {
      if (join !== this.#joins) return;
      this.#isSending = false;
      next();
      this.onChange(this);
    };
    const push = this.channel.push("sync", message(UPDATE, merged));
    push.receive("ok", done(() => this.#send(new Uint8Array())));
    push.receive("timeout", done(() => this.#resync()));
    push.receive("error", ({ reason, resync }) => done(() => (resync ? this.#resync() : this.onError(reason)))());
  }

  #resync() {
    this.#push("state", {}, (state) => this.#joined(state));
  }

  #push(event, payload, next) {
    this.channel.push(event, payload).receive("ok", next).receive("error", ({ reason }) => this.onError(reason));
  }

  /** Shows this client's state to the others. */
  #show() {
    if (this.channel.state !== "joined") return;
    this.channel.push("awareness", buffer(encodeAwarenessUpdate(this.awareness, [this.doc.clientID])), 1);
  }

  #apply(bytes) {
    const { kind, body } = read(bytes);
    if (kind === STEP_2 || kind === UPDATE) applyUpdate(this.doc, body, this);
  }

  #lost() {
    this.#isComplete = false;
    const others = [...this.awareness.getStates().keys()].filter((client) => client !== this.doc.clientID);
    removeAwarenessStates(this.awareness, others, this);
    this.onChange(this);
  }
}

function message(kind, body) {
  const encoder = createEncoder();
  writeVarUint(encoder, kind);
  writeVarUint8Array(encoder, body);
  return buffer(toUint8Array(encoder));
}

function read(bytes) {
  const decoder = createDecoder(new Uint8Array(bytes));
  return { kind: readVarUint(decoder), body: readVarUint8Array(decoder) };
}

/** Phoenix's client sends an `ArrayBuffer` as bytes. */
function buffer(bytes) {
  return bytes.slice().buffer;
}
