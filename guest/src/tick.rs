//! Ticks of a topic.

use std::time::Duration;

use crate::Tick;
use crate::host::socket;

impl Tick {
    /// Returns the time between two ticks.
    pub fn period(&self) -> Duration {
        Duration::from_millis(self.period_ms.into())
    }

    /// Returns the time since the last handled tick: the period, and more if ticks were skipped.
    ///
    /// ```
    /// # use bennu_guest::prelude::*;
    /// let late = Tick { number: 7, missed: 2, period_ms: 100 };
    /// assert_eq!(late.elapsed(), Duration::from_millis(300));
    /// ```
    pub fn elapsed(&self) -> Duration {
        Duration::from_millis(u64::from(self.period_ms) * (u64::from(self.missed) + 1))
    }

    /// Whether no tick was handled before this one.
    pub(crate) fn is_first(&self) -> bool {
        self.number <= u64::from(self.missed) + 1
    }
}

/// Sets the tick period of the topic. A period of less than a millisecond becomes one millisecond, which the host
/// refuses. Zero would end the ticks.
pub(crate) fn set(period: Duration) {
    let shortest = u128::from(!period.is_zero());
    socket::tick(u32::try_from(period.as_millis().max(shortest)).unwrap_or(u32::MAX));
}
