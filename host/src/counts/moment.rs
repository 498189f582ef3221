//! A time that takes little memory.

use std::num::NonZeroU64;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// A time since the first use of this type, in nanoseconds. It has 8 bytes, also in an `Option`, and an `Instant` has 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(NonZeroU64);

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Moment {
    /// Reads the clock.
    #[must_use]
    pub fn now() -> Self {
        let nanoseconds = u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Self(NonZeroU64::new(nanoseconds).unwrap_or(NonZeroU64::MIN))
    }

    /// Reads the clock, and returns how long ago this was.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Duration::from_nanos(Self::now().nanoseconds().saturating_sub(self.nanoseconds()))
    }

    /// Returns the nanoseconds.
    #[must_use]
    pub fn nanoseconds(self) -> u64 {
        self.0.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_small_and_the_time_passes() {
        assert_eq!(size_of::<Option<Moment>>(), 8);
        let moment = Moment::now();
        std::thread::sleep(Duration::from_millis(1));
        assert!(moment.elapsed() >= Duration::from_millis(1));
    }
}
