//! The timers of a member.

use bennu_world as world;

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

impl From<world::Timer> for Timer {
    fn from(world::Timer { id, due, sent: world::Sent { event, payload } }: world::Timer) -> Self {
        Self { id: TimerId(id), due, sent: Sent::of(&event, payload) }
    }
}
