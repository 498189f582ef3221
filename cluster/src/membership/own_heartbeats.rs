//! Whether this node's heartbeats come back to it.

use std::time::Duration;

use crate::link::HEARTBEAT;
use crate::moment::Moment;

/// The longest time between two heartbeats that counts as unbroken: one may be late or lost.
const BREAK: Duration = Duration::from_millis(2_500);

/// What was heard of this node's own heartbeats. While they don't come back, nothing is known of others.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OwnHeartbeats {
    /// The first one of an unbroken series, and the last one.
    series: Option<(Moment, Moment)>,
}

impl OwnHeartbeats {
    pub(super) fn came_back(&mut self, now: Moment) {
        let since = self.unbroken_since(now).unwrap_or(now);
        self.series = Some((since, now));
    }

    /// Since when they come back.
    pub(super) fn unbroken_since(&self, now: Moment) -> Option<Moment> {
        self.series.filter(|(_, last)| now.since(*last) <= BREAK).map(|(since, _)| since)
    }
}

const _: () = assert!(BREAK.as_millis() > 2 * HEARTBEAT.as_millis());
