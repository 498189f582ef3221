//! The timers of a member.

use bennu_semantics::{Payload, TimerId};
use bytestring::ByteString;

/// An event and what it carries.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// The event.
    pub event: ByteString,
    /// What it carries.
    pub payload: Payload,
}

impl Sent {
    /// Bytes that it takes in a queue.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.event.len() + self.payload.len()
    }
}

/// A timer under way.
#[derive(Clone, Debug, PartialEq)]
pub struct Timer {
    /// Its number.
    pub id: TimerId,
    /// When it fires: milliseconds since 1970.
    pub due: u64,
    /// What `handle_info` will get.
    pub sent: Sent,
}

/// Takes the timer that fires first, if that is not after `until`. Of two at once, the earlier asked for comes first. A timer's
/// time and number are read by `when`.
pub fn take_due<T>(timers: &mut Vec<T>, until: u64, when: impl Fn(&T) -> (u64, TimerId)) -> Option<T> {
    let first = (0..timers.len()).min_by_key(|&at| when(&timers[at]))?;
    (when(&timers[first]).0 <= until).then(|| timers.remove(first))
}
