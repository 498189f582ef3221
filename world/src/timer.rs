//! The timers of a member.

use bennu_semantics::{Payload, TimerId};
use bytestring::ByteString;

/// An event and its payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// The event.
    pub event: ByteString,
    /// Its payload.
    pub payload: Payload,
}

impl Sent {
    /// Its bytes in a queue.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.event.len() + self.payload.len()
    }
}

/// A pending timer.
#[derive(Clone, Debug, PartialEq)]
pub struct Timer {
    /// Its number.
    pub id: TimerId,
    /// When it fires: milliseconds since 1970.
    pub due: u64,
    /// The message for `handle_info`.
    pub sent: Sent,
}

/// Takes the timer that fires first, if it fires at `until` or before. Of two timers with the same time, the earlier
/// one fires first. `when` returns a timer's time and number.
pub fn take_due<T>(timers: &mut Vec<T>, until: u64, when: impl Fn(&T) -> (u64, TimerId)) -> Option<T> {
    let first = (0..timers.len()).min_by_key(|&at| when(&timers[at]))?;
    (when(&timers[first]).0 <= until).then(|| timers.remove(first))
}
