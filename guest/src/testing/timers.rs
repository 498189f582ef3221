//! The timers of a member.

use super::Sent;
use crate::TimerId;

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
