//! The resources of a member at the host.

use bennu_semantics::{Follows, MemberUsage, TimerId, Topic};
use bytestring::ByteString;

use crate::Timer;

/// The resources of a member at the host, apart from its seat. They end with the member.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    /// Its pending timers.
    pub timers: Vec<Timer>,
    /// The number that its next timer gets.
    pub(crate) next_timer: TimerId,
    /// The keys of its presences.
    pub(crate) presences: Vec<ByteString>,
    /// The further topics to which it is subscribed.
    pub(crate) topics: Vec<Topic>,
    /// The prefixes of published entries that it follows. `None` if it follows all of them.
    pub(crate) follows: Option<Box<Follows>>,
}

impl Resources {
    /// The resources as the limits of a call count them.
    #[must_use]
    pub fn usage(&self) -> MemberUsage {
        MemberUsage {
            timers: self.timers.iter().map(|timer| timer.id).collect(),
            next_timer: self.next_timer,
            presences: self.presences.clone(),
            topics: self.topics.clone(),
            follows: self.follows.clone(),
        }
    }

    /// The bytes of its timers' messages.
    #[must_use]
    pub fn timer_bytes(&self) -> usize {
        self.timers.iter().map(|timer| timer.sent.bytes()).sum()
    }
}
