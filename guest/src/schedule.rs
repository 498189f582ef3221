//! Schedules: messages to a topic's [`handle_topic_info`](crate::Channel::handle_topic_info), at a time.
//!
//! A schedule is stored together with the other writes of the callback, and survives a restart of the host. It fires also if
//! its topic has no members. If the host doesn't run at that time, or no plugin serves the topic, it fires late, and [`fired`]
//! says when it was due. Its row is removed in the transaction of the callback that it fires, so the writes of that callback
//! happen once. After a fault the host tries again: five times in total, with growing delays. Then the schedule is kept, and an
//! operator can retry or drop it (`bennu schedules`).
//!
//! ```
//! use bennu_guest::prelude::*;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Order;
//!
//! impl Channel for Order {
//!     type Room = ();
//!
//!     fn join(_socket: &mut Socket, _params: Payload) -> Join<Self> {
//!         Ok(Order)
//!     }
//!
//!     fn handle_in(&mut self, socket: &mut Socket, event: &str, _payload: Payload) -> Handled {
//!         match event {
//!             "ordered" => {
//!                 schedule::after(socket.topic(), Duration::from_secs(1800), "remind", "late", json!({ "dish": "soup" }));
//!             }
//!             "served" => schedule::cancel(socket.topic(), "remind"),
//!             _ => return unknown_event(event),
//!         }
//!         ok()
//!     }
//!
//!     fn handle_topic_info(topic: &mut Topic, message: Message) -> Told {
//!         if message.event == "late" {
//!             topic.broadcast("late", message.payload);
//!         }
//!         Ok(())
//!     }
//! }
//!
//! let stage = testing::Stage::new().channel::<Order>("order:*");
//! let mut waiter = stage.join("order:7", json!({})).unwrap();
//! waiter.push("ordered", json!({}));
//! stage.advance(Duration::from_secs(1800));
//! waiter.assert_broadcast("late", json!({ "dish": "soup" }));
//! ```
//!
//! # Limits
//!
//! - A plugin has schedules for the topics of its own routes only. Any other topic is a fault `failed`.
//! - A key and an event have at most 255 bytes. Otherwise the call is a fault `trap`.
//! - A plugin has at most 1,000 schedules of a topic (`schedules_per_topic`), 100,000 in total (`schedules_per_plugin`), and 64 MiB
//!   of them (`schedule_bytes_per_plugin`). Otherwise the call is a fault `oversize`.

use std::time::Duration;

use crate::host::schedule;
use crate::{IntoPayload, check, now_ms};

/// A schedule that fires, or a time of a cron line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fired {
    /// When it was due, in milliseconds since 1970. It fires later if the host didn't run, or no plugin served the topic.
    pub due_ms: u64,
    /// The key of the schedule. `None` for a cron line.
    pub key: Option<String>,
}

/// Schedules an event for a topic at a time, in milliseconds since 1970. If that has passed, the event comes at once. It replaces
/// an earlier schedule with the same topic and key.
#[track_caller]
pub fn at(topic: &str, at_ms: u64, key: &str, event: &str, payload: impl IntoPayload) {
    let (topic, key) = names(topic, key);
    schedule::schedule(topic, at_ms, key, event, &check::message(event, payload));
}

/// Schedules an event for a topic after a time. See [`at`].
#[track_caller]
pub fn after(topic: &str, time: Duration, key: &str, event: &str, payload: impl IntoPayload) {
    let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    at(topic, now_ms().saturating_add(time), key, event, payload);
}

/// Cancels a schedule. If there is none, nothing happens.
#[track_caller]
pub fn cancel(topic: &str, key: &str) {
    let (topic, key) = names(topic, key);
    schedule::cancel_schedule(topic, key);
}

/// Returns when a schedule is due, in milliseconds since 1970, if there is one. A callback sees its own schedules and
/// cancellations.
pub fn due(topic: &str, key: &str) -> Option<u64> {
    schedule::get(topic, key)
}

/// Returns the schedule or the time of a cron line that the running [`handle_topic_info`](crate::Channel::handle_topic_info) is
/// about, if it is about one.
pub fn fired() -> Option<Fired> {
    Some(Fired { due_ms: schedule::due()?, key: schedule::key() })
}

/// Checks the names of a schedule.
#[track_caller]
fn names<'n>(topic: &'n str, key: &'n str) -> (&'n str, &'n str) {
    (check::name("a topic", topic), check::name("the key of a schedule", key))
}
