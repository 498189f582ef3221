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
