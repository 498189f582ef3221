"use client";
// Hooks for React: a socket, channels, events, presences and published states.

import { Socket } from "phoenix";
import { createContext, createElement, useContext, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";

import { NO_PRESENCES } from "./presence_list.mjs";
import { IDLE, JOINING, PushError, sharedChannel } from "./shared_channel.mjs";

export { PushError };

const SocketContext = createContext(undefined);

/** The shared channel behind an object that `useChannel` has returned. */
const SHARED = Symbol("shared channel");

const never = () => () => {};
const whole = (state) => state;

/**
 * Gives the components below it a socket: with `socket` your own, which you connect, or with `url` and `options` one that it
 * makes, connects, and disconnects when it unmounts.
 */
export function SocketProvider({ socket, url, options, children }) {
  const made = useOwnSocket(socket ? null : url, options);
  return createElement(SocketContext.Provider, { value: socket ?? made }, children);
}

/** Makes and connects a socket after the first render. So the server makes none. */
function useOwnSocket(url, options) {
  const [made, setMade] = useState(null);
  const current = useRef(null);
  const key = keyOf([url, options]);
  const wanted = useLatest(options);
  useEffect(() => {
    // StrictMode unmounts and mounts again, and keeps the socket.
    if (current.current?.key !== key) {
      const socket = url ? new Socket(url, wanted.current) : null;
      socket?.connect();
      current.current = { key, socket };
      setMade(socket);
    }
    const mine = current.current;
    mine.isUsed = true;
    return () => {
      mine.isUsed = false;
      setTimeout(() => {
        if (mine.isUsed) return;
        mine.socket?.disconnect();
        if (current.current === mine) current.current = null;
      }, 0);
    };
  }, [key]);
  return made;
}

/** The provider's socket. Null on the server, and in the first render below a provider with a `url`. */
export function useSocket() {
  const socket = useContext(SocketContext);
  if (socket === undefined) throw new Error("useSocket, useChannel and useConnected need a SocketProvider above them");
  return socket;
}

/** Whether the socket is connected. */
export function useConnected() {
  const socket = useSocket();
  const subscribe = useMemo(() => (socket ? (listener) => onConnection(socket, listener) : never), [socket]);
  return useSyncExternalStore(subscribe, () => socket?.isConnected() ?? false, () => false);
}

function onConnection(socket, listener) {
  const refs = [socket.onOpen(listener), socket.onClose(listener)];
  return () => socket.off(refs);
}

/**
 * Joins a topic while the component is mounted. All components with the same topic share one channel. With `onMissed`, the
 * channel gets what it missed during a lost connection, or `onMissed` is called.
 */
export function useChannel(topic, params, { onMissed } = {}) {
  const socket = useSocket();
  const shared = useMemo(() => (socket && topic ? sharedChannel(socket, topic) : null), [socket, topic]);
  const key = keyOf(params);
  const latest = useLatest(params);
  const recovers = Boolean(onMissed);
  const missed = useLatest(onMissed);
  useEffect(() => {
    if (!shared) return undefined;
    // A function is called for each join, as by phoenix.js.
    const given = typeof latest.current === "function" ? () => latest.current() : latest.current;
    return shared.hold(given, key, recovers ? () => missed.current?.() : undefined);
  }, [shared, key, recovers]);
  const none = topic ? JOINING : IDLE;
  const snapshot = useSyncExternalStore(shared?.onStatus ?? never, () => shared?.snapshot ?? none, () => none);
  return useMemo(() => {
    const push = shared?.push ?? (async (event) => { throw new PushError(topic, event, "closed"); });
    return { topic, ...snapshot, push, on: shared?.on ?? never, rejoin: shared?.rejoin ?? never, [SHARED]: shared };
  }, [topic, shared, snapshot]);
}

/** Calls the last rendered `handler` for each event of this name. */
export function useEvent(channel, event, handler) {
  const shared = channel[SHARED];
  const latest = useLatest(handler);
  useEffect(() => shared?.on(event, (payload) => latest.current(payload)), [shared, event]);
}

/** The presences of the topic. Presences that don't change keep their identity. */
export function usePresence(channel) {
  const shared = channel[SHARED];
  return useSyncExternalStore(shared?.onPresence ?? never, () => shared?.presences ?? NO_PRESENCES, () => NO_PRESENCES);
}

/** The published state, or the part that `selector` returns. Null until the first state arrives. */
export function useRoom(channel, selector = whole, isEqual = Object.is) {
  const shared = channel[SHARED];
  const shown = useRef(null);
  const getSelected = useMemo(() => {
    let last = null;
    // The same state must give the same part, also if the selector makes a new object each time.
    return () => {
      const state = shared?.room?.state ?? null;
      if (last?.state === state && last) return last.part;
      const part = state === null ? null : selector(state);
      const before = last ?? shown.current;
      last = { state, part: before && isEqualPart(isEqual, before.part, part) ? before.part : part };
      return last.part;
    };
  }, [shared, selector, isEqual]);
  const part = useSyncExternalStore(shared?.onRoom ?? never, getSelected, () => null);
  useEffect(() => {
    shown.current = { part };
  }, [part]);
  return part;
}

/** `isEqual` gets only parts of states. */
function isEqualPart(isEqual, before, after) {
  return before === null || after === null ? before === after : isEqual(before, after);
}

/** One field of the published state. Unlike with `useRoom`, a change doesn't copy the state, so it suits thousands of fields. */
export function useRoomField(channel, field) {
  const shared = channel[SHARED];
  return useSyncExternalStore(shared?.onRoom ?? never, () => shared?.room?.get(field), () => undefined);
}

/** A ref to the value of the last render. */
function useLatest(value) {
  const latest = useRef(value);
  useEffect(() => {
    latest.current = value;
  });
  return latest;
}

/** A text that is equal for equal JSON values. All functions are equal, because each render makes new ones. */
function keyOf(value) {
  return JSON.stringify(value, (_, inner) => {
    if (typeof inner === "function") return "function";
    if (typeof inner !== "object" || inner === null || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([one], [other]) => (one < other ? -1 : 1)));
  });
}
