//! Topics with a room, and the ways in which a room can fail: `unruly:*`. Everybody may join. The room remains for 100
//! ms after its last member, and three faulty ticks in a row end the topic.
//!
//! | event | result |
//! | --- | --- |
//! | `count` | counts in the room, and replies `ok {"count": n}`. Also as a topic message |
//! | `look` | replies `ok {"count": n, "ended": ["left", ..]}`: causes of ends. Also as a topic message |
//! | `tick {"ms"}` | sets the tick period (below 10, fault: oversize). Everyone gets `beat {"number", "missed", "period_ms"}` |
//! | `at_tick {"mood"}` | at each tick it fails, panics, loops, asks for a push, or takes half a second |
//! | `sit {"seat", "ms"}`, `rise` | takes that seat; gives it up. Everyone gets `seat {"seat", "change"}` |
//! | `publish {"state"}` | publishes that state. Also as a topic message |
//! | `publish_raw {"state"}` | publishes the JSON in that text |
//! | `clear` | deletes the room |
//! | `stop` | ends the member |
//! | `grow` | fault: oversize, because the room exceeds its limit |
//! | `count_entry {"key"}` | the same as `count`, and sets that entry to the same number |
//! | `count_and_fail` | fault: failed; the room stays as it was |
//! | `publish_text {"state"}` | publishes this text unchanged, even if it isn't JSON |
//! | `seats {"count"}` | takes that many seats in one call: `seat 0` and so on |
//! | the events of [`entries`] | see there |
//! | `told` | replies with the calls of `handle_seat`: `ok {"told": ["seat 0 taken", ..]}`. Also as a topic message |

use std::hint::black_box;

use bennu_guest::bindings::bennu::channel::socket as imports;
use bennu_guest::prelude::*;
use serde_json::value::RawValue;

use super::entries;

/// A member of `unruly:*`, or of `durable:*` with a durable room, in a build that writes this version of entries.
#[derive(Serialize, Deserialize)]
pub(crate) struct Unruly<const VERSION: u32, const IS_DURABLE: bool>;

/// The state that its members share.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Room {
    count: u64,
    /// The causes of the members' ends.
    ended: Vec<String>,
    mood: Mood,
    /// Data that makes the room large.
    ballast: String,
    /// The changes that `handle_seat` was told.
    told: Vec<String>,
}

/// The behavior at each tick.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mood {
    /// Everyone gets `beat`.
    #[default]
    Tell,
    /// Everyone gets `beat` after half a second.
    Slow,
    Fail,
    Trap,
    Loop,
    /// Asks for an effect that needs a member. The SDK can't do this, so it calls the import directly.
    Push,
}

impl<const VERSION: u32, const IS_DURABLE: bool> Channel for Unruly<VERSION, IS_DURABLE> {
    type Room = Room;
    const ENTRIES: bool = true;
    const ENTRIES_VERSION: u32 = VERSION;
    const DURABLE: bool = IS_DURABLE;
    const LINGER: Option<Duration> = Some(Duration::from_millis(100));
    const TICK_FAULTS: Option<u32> = Some(3);

    fn join(_socket: &mut Socket<Room>, _params: Payload) -> Join<Self> {
        Ok(Unruly)
    }

    fn handle_in(&mut self, socket: &mut Socket<Room>, event: &str, payload: Payload) -> Handled {
        match event {
            "count" => return count(socket.room_mut()),
            "count_entry" => return entries::put_number(count(socket.room_mut())?, &payload),
            "look" => return look(socket.room()),
            "told" => return reply(json!({ "told": socket.room().told })),
            "publish_text" => imports::publish_state(&payload.field::<String>("state")?),
            "seats" => {
                let count: u64 = payload.field("count")?;
                (0..count).for_each(|n| socket.take_seat(&format!("seat {n}"), Duration::from_secs(60)));
            }
            "tick" => socket.tick(Duration::from_millis(payload.field("ms")?)),
            "at_tick" => socket.room_mut().mood = payload.field("mood")?,
            "sit" => {
                let grace = Duration::from_millis(payload.field("ms")?);
                socket.take_seat(&payload.field::<String>("seat")?, grace);
            }
            "rise" => socket.leave_seat(),
            "publish" => socket.publish_state(payload.field::<Value>("state")?),
            "publish_raw" => match RawValue::from_string(payload.field("state")?) {
                Ok(text) => socket.publish_state(text),
                Err(error) => return reply_error(json!({ "reason": error.to_string() })),
            },
            "clear" => socket.clear_room(),
            "stop" => return stop("asked to"),
            "grow" => socket.room_mut().ballast = "x".repeat(1 << 20),
            "entry_after_discard" => {
                socket.discard();
                return entries::event("entry_put", &payload).unwrap_or_else(ok);
            }
            "count_and_refuse" => {
                socket.room_mut().count += 1;
                socket.publish_state(json!({ "late": true }));
                socket.take_seat("late", Duration::from_secs(1));
                return refuse(json!({ "reason": "too late" }));
            }
            "count_and_fail" => {
                socket.room_mut().count += 1;
                return fail("asked to fail after it counted");
            }
            _ => return entries::event(event, &payload).unwrap_or_else(|| unknown_event(event)),
        }
        ok()
    }

    fn handle_message(topic: &mut Topic<Room>, event: &str, payload: Payload) -> Handled {
        match event {
            "count" => return count(topic.room_mut()),
            "look" => return look(topic.room()),
            "told" => return reply(json!({ "told": topic.room().told })),
            "tick" => topic.tick(Duration::from_millis(payload.field("ms")?)),
            "publish" => topic.publish_state(payload.field::<Value>("state")?),
            _ => return entries::message(event, &payload).unwrap_or_else(|| unknown_event(event)),
        }
        ok()
    }

    fn handle_seat(topic: &mut Topic<Room>, seat: &str, change: SeatChange) -> Seated {
        let change = match change {
            SeatChange::Taken => "taken",
            SeatChange::Dropped => "dropped",
            SeatChange::Returned => "returned",
            SeatChange::Gone => "gone",
        };
        topic.room_mut().told.push(format!("{seat} {change}"));
        // The seats of the event `seats` are too many to broadcast their changes.
        if !seat.starts_with("seat ") {
            topic.broadcast("seat", json!({ "seat": seat, "change": change }));
        }
        Ok(())
    }

    fn handle_tick(topic: &mut Topic<Room>, tick: &Tick) -> Ticked {
        match topic.room().mood {
            Mood::Tell => {}
            Mood::Slow => {
                let until = now_ms() + 500;
                while now_ms() < until {}
            }
            Mood::Fail => return fail("asked to fail in handle_tick"),
            Mood::Trap => panic!("asked to panic in handle_tick"),
            Mood::Loop => loop {
                black_box(());
            },
            Mood::Push => imports::push("pushed", &json!({}).into_payload()),
        }
        let Tick { number, missed, period_ms } = tick;
        topic.broadcast("beat", json!({ "number": number, "missed": missed, "period_ms": period_ms }));
        Ok(())
    }

    fn terminate(&mut self, socket: &mut Socket<Room>, ending: Ending) {
        socket.room_mut().ended.push(ending.cause);
    }

    fn upgrade_entry(old: &OldEntry) -> UpgradedEntry {
        if VERSION == 0 { old.as_it_is() } else { entries::upgrade(old) }
    }
}

fn count(room: &mut Room) -> Handled {
    room.count += 1;
    reply(json!({ "count": room.count }))
}

fn look(room: &Room) -> Handled {
    reply(json!({ "count": room.count, "ended": room.ended }))
}
