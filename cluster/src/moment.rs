//! Times of this machine.

use std::ops::Add;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A time of a clock that starts with the machine, isn't set, and also runs while the machine sleeps. It means nothing on another machine.
///
/// `std::time::Instant` stands still while the machine sleeps, so a lease that is measured by it would look good after a night.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: ClockId = ClockId::Boottime;
// On Apple's systems this clock runs while the machine sleeps. On the BSDs it doesn't always, and they have no other one.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: ClockId = ClockId::Monotonic;

impl Moment {
    /// Before every other moment.
    pub const START: Self = Self(0);

    /// Reads the clock.
    #[must_use]
    pub fn now() -> Self {
        let time = clock_gettime(CLOCK);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or_default();
        Self(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds))
    }

    /// The moment that is some nanoseconds after the start of the clock.
    #[must_use]
    pub const fn from_nanoseconds(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// The nanoseconds since the start of the clock.
    #[must_use]
    pub const fn nanoseconds(self) -> u64 {
        self.0
    }

    /// The time from another moment to this one. Zero if the other one is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_follow_one_another_and_never_wrap() {
        let before = Moment::now();
        let after = Moment::now();
        assert!(after >= before && before > Moment::START);
        let second = Duration::from_secs(1);
        assert_eq!((before + second).since(before), second);
        assert_eq!(before.since(before + second), Duration::ZERO);
        assert_eq!(before + Duration::MAX, Moment::from_nanoseconds(u64::MAX));
    }
}
