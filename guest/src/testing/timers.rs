//! The timers of a member.

use super::Sent;
use crate::TimerId;

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

/// Takes the timer that fires first, if that is not after `until`. Of two at once, the earlier asked for comes first.
pub(super) fn take_due(timers: &mut Vec<Timer>, until: u64) -> Option<Timer> {
    let first = (0..timers.len()).min_by_key(|&at| (timers[at].due, timers[at].id.0))?;
    (timers[first].due <= until).then(|| timers.remove(first))
}
