import * as host from "bennu:channel/host@0.1.0";
import * as hostSchedule from "bennu:channel/schedule@0.1.0";
import { count, name, pack } from "./payload.ts";
import { onlyInCallbacks } from "./phase.ts";

/** Schedules: events that come to a topic's `topicInfo` later. They are stored, and survive a restart of the host. */
export const schedule = {
  /** At a time: a `Date`, or milliseconds since 1970. It replaces an earlier schedule with the same topic and key. */
  at(topic: string, time: Date | number, key: string, event: string, payload: unknown = {}): void {
    onlyInCallbacks("schedule.at");
    const at = count("a time", time instanceof Date ? time.getTime() : time);
    hostSchedule.schedule(name("a topic", topic), at, name("a key", key), name("an event", event), pack(payload));
  },
  /** After a time in milliseconds. */
  after(topic: string, milliseconds: number, key: string, event: string, payload: unknown = {}): void {
    onlyInCallbacks("schedule.after");
    schedule.at(topic, Number(host.now()) + count("a time", milliseconds), key, event, payload);
  },
  /** Cancels a schedule. If there is none, nothing happens. */
  cancel(topic: string, key: string): void {
    onlyInCallbacks("schedule.cancel");
    hostSchedule.cancelSchedule(name("a topic", topic), name("a key", key));
  },
  /** When a schedule is due, in milliseconds since 1970, if there is one. */
  due(topic: string, key: string): number | undefined {
    onlyInCallbacks("schedule.due");
    return number(hostSchedule.get(name("a topic", topic), name("a key", key)));
  },
};

/** The schedule or cron line that the running callback is about. */
export function fired(): { due?: number; key?: string } {
  const due = number(hostSchedule.due());
  return due === undefined ? {} : { due, key: hostSchedule.key() ?? undefined };
}

function number(time: number | null): number | undefined {
  return time === null || time === undefined ? undefined : Number(time);
}
