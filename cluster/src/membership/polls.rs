//! When the table is read.

use std::time::Duration;

use crate::moment::Moment;

/// How often the table is read at least.
const INTERVAL: Duration = Duration::from_secs(2);

/// The least time between two polls. Whoever can write to the bus can give hints, and mustn't make work for the database by that.
const INTERVAL_MIN: Duration = Duration::from_millis(200);

/// When the table is read.
#[derive(Clone, Copy, Debug)]
pub struct Polls {
    interval: Duration,
    last: Moment,
    is_hinted: bool,
}

impl Polls {
    /// The polls of a node that has polled at this moment. Five fit into a lease.
    #[must_use]
    pub fn new(lease: Duration, last: Moment) -> Self {
        Self { interval: INTERVAL.min(lease / 5), last, is_hinted: false }
    }

    /// When the next one is sent.
    #[must_use]
    pub fn next(&self) -> Moment {
        self.last + if self.is_hinted { INTERVAL_MIN.min(self.interval) } else { self.interval }
    }

    /// How long an answer is waited for.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.interval
    }

    /// Something may have changed in the table. Returns whether that is news.
    pub fn hint(&mut self) -> bool {
        !std::mem::replace(&mut self.is_hinted, true)
    }

    /// A poll is sent now.
    pub fn sent(&mut self, now: Moment) {
        self.last = now;
        self.is_hinted = false;
    }
}
