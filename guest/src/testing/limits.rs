//! The limits that a host has unless it is configured otherwise: the test kit holds callbacks to the same ones.
//!
//! The host's own defaults stand in its crate. A test of the workspace compares both, so neither changes alone.

use std::time::Duration;

/// Bytes of an event, a topic, a status, a seat's name, a presence's key or a socket's id.
pub const NAME_BYTES: usize = 255;
/// Bytes of a member's state.
pub const ASSIGNS_BYTES: usize = 16 << 10;
/// Bytes of a topic's room.
pub const ROOM_BYTES: usize = 1 << 20;
/// Effects of a call.
pub const EFFECTS: usize = 1024;
/// Bytes of those effects and of the answer.
pub const EFFECT_BYTES: usize = 4 << 20;
/// Timers of a member under way.
pub const TIMERS: usize = 16;
/// The shortest time of a timer and of a beat.
pub const TIMER_SHORTEST: Duration = Duration::from_millis(10);
/// Lines that a call logs.
pub const LOG_LINES: usize = 256;
/// Bytes of a line in the log, and of a fault's detail.
pub const LINE_BYTES: usize = 8 << 10;
/// Presences of a member.
pub const PRESENCES: usize = 16;
/// Bytes of a presence's meta.
pub const PRESENCE_BYTES: usize = 4 << 10;
/// The `presence_diff`s of a topic that go out one by one within [`PRESENCE_WINDOW`].
pub const PRESENCE_BURST: u32 = 8;
/// The time at whose end further changes of presences go out as one.
pub const PRESENCE_WINDOW: Duration = Duration::from_millis(100);
/// Further topics that a member subscribes to.
pub const SUBSCRIPTIONS: usize = 64;
/// The longest that a seat is kept.
pub const GRACE: Duration = Duration::from_secs(24 * 60 * 60);
/// Members or topics in one answer.
pub const LISTED: usize = 1000;
/// Bytes of a key in the store.
pub const KEY_BYTES: usize = 1024;
/// Bytes of a value in the store.
pub const VALUE_BYTES: usize = 1 << 20;
/// Keys that a call writes.
pub const WRITES: usize = 1024;
/// Bytes of those keys and their values.
pub const WRITE_BYTES: usize = 4 << 20;
/// Entries that one scan gives.
pub const SCAN_ENTRIES: usize = 1000;
/// Bytes of those entries.
pub const SCAN_BYTES: usize = 1 << 20;
/// Messages from elsewhere that wait for a member, or for a topic.
pub const MAILBOX: usize = 1024;
/// Bytes of those, and of the member's timers.
pub const MAILBOX_BYTES: usize = 4 << 20;
/// Messages that wait for all topics of a plugin.
pub const LETTERS: usize = 16_384;
/// Bytes of those.
pub const LETTER_BYTES: usize = 64 << 20;
