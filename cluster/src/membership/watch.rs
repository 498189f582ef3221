//! Whether a node's beat stands still.

use std::time::Duration;

use crate::moment::Moment;

/// What was seen of one node's beat. It may be declared dead once the same beat was seen for a whole lease, in polls that were answered without
/// a break. After an outage of the database nobody has renewed, and everybody gets the time of a lease to do so.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    beat: u64,
    since: Moment,
}

impl Watch {
    /// This beat was seen in an answer that came now.
    #[must_use]
    pub const fn new(beat: u64, now: Moment) -> Self {
        Self { beat, since: now }
    }

    /// Whether an answer of the table follows another one without a break. A node renews five times in a lease. Two renewals that the
    /// table could have answered are between two answers at most.
    #[must_use]
    pub fn is_unbroken(lease: Duration, last: Moment, now: Moment) -> bool {
        now.since(last) <= lease * 2 / 5
    }

    /// This beat was seen in an answer that came now.
    pub fn saw(&mut self, beat: u64, is_unbroken: bool, now: Moment) {
        if beat != self.beat || !is_unbroken {
            *self = Self::new(beat, now);
        }
    }

    /// Since when the same beat is seen, without a break.
    #[must_use]
    pub const fn since(&self) -> Moment {
        self.since
    }

    /// Whether the beat stood still for a lease when this was asked. What was asked then may have been read at any time later.
    #[must_use]
    pub fn is_over(&self, lease: Duration, sent_at: Moment) -> bool {
        sent_at.since(self.since) >= lease
    }
}
