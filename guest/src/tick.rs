//! The beat of a topic.

use std::time::Duration;

use crate::Tick;
use crate::host::socket;

impl Tick {
    /// The time from one beat to the next.
    pub fn period(&self) -> Duration {
        Duration::from_millis(self.period_ms.into())
    }

    /// The time since the last beat that was handled: the period, and more where beats were left out.
    ///
    /// ```
    /// # use bennu_guest::prelude::*;
    /// let late = Tick { number: 7, missed: 2, period_ms: 100 };
    /// assert_eq!(late.elapsed(), Duration::from_millis(300));
    /// ```
    pub fn elapsed(&self) -> Duration {
        Duration::from_millis(u64::from(self.period_ms) * (u64::from(self.missed) + 1))
    }

    /// Whether none was handled before it.
    pub(crate) fn is_first(&self) -> bool {
        self.number <= u64::from(self.missed) + 1
    }
}

/// Sets the beat of the topic at hand. A period of less than a millisecond is too short for one, and not the end of it.
pub(crate) fn set(period: Duration) {
    let shortest = u128::from(!period.is_zero());
    socket::tick(u32::try_from(period.as_millis().max(shortest)).unwrap_or(u32::MAX));
}
