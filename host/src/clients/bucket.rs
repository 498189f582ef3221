//! A token bucket in one word: the generic cell rate algorithm (GCRA).
//!
//! The crate `governor` has the same algorithm. What it adds are its own clocks and its own map of keys, which is never
//! emptied by itself. Here, the map must also know which users are connected, and the buckets of a key are together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::limits::RateLimit;

const SECOND: u64 = 1_000_000_000;

/// The time at which the bucket is full again, in nanoseconds. Nothing else depends on the order of its changes, so they are
/// relaxed.
#[derive(Debug, Default)]
pub(super) struct Bucket(AtomicU64);

impl Bucket {
    /// Takes `cost` tokens. A full bucket gives any number, because a single large message could never pass otherwise.
    ///
    /// # Errors
    /// If there are too few: how long it takes until there are enough. None are taken.
    pub(super) fn take(&self, now: u64, cost: u64, limit: RateLimit) -> Result<(), Duration> {
        if limit.per_second == 0 {
            return Ok(());
        }
        let time = |tokens: u64| u128::from(tokens) * u128::from(SECOND) / u128::from(limit.per_second);
        let nanos = |time: u128| u64::try_from(time).unwrap_or(u64::MAX);
        let (cost, burst) = (nanos(time(cost)), nanos(time(limit.burst())));
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            let after = full_at.max(now).saturating_add(cost);
            (full_at <= now || after - now <= burst).then_some(after)
        });
        taken.map(drop).map_err(|full_at| {
            // A cost above the burst needs a full bucket.
            let wait = full_at.saturating_add(cost).saturating_sub(burst).min(full_at).saturating_sub(now);
            Duration::from_nanos(wait)
        })
    }

    /// Whether it is full.
    pub(super) fn is_full(&self, now: u64) -> bool {
        self.0.load(Ordering::Relaxed) <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: RateLimit = RateLimit { per_second: 10, burst: 5 };

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let bucket = Bucket::default();
        let now = 7 * SECOND;
        assert!((0..5).all(|_| bucket.take(now, 1, LIMIT).is_ok()));
        assert_eq!(bucket.take(now, 1, LIMIT), Err(Duration::from_millis(100)));
        assert_eq!(bucket.take(now + SECOND / 20, 1, LIMIT), Err(Duration::from_millis(50)));
        let passed = (0..1000).filter(|step| bucket.take(now + step * SECOND / 100, 1, LIMIT).is_ok()).count();
        assert!((99..=100).contains(&passed), "{passed} in ten seconds");
        assert!(!bucket.is_full(now + 10 * SECOND) && bucket.is_full(now + 20 * SECOND));
    }

    #[test]
    fn a_cost_above_the_burst_passes_if_the_bucket_is_full() {
        let bucket = Bucket::default();
        assert!(bucket.take(SECOND, 20, LIMIT).is_ok());
        assert_eq!(bucket.take(SECOND, 1, LIMIT), Err(Duration::from_millis(1600)));
        assert_eq!(bucket.take(SECOND, 20, LIMIT), Err(Duration::from_secs(2)));
        assert!(bucket.take(3 * SECOND, 20, LIMIT).is_ok());
    }

    #[test]
    fn there_is_no_limit_of_zero_and_no_overflow() {
        let bucket = Bucket::default();
        assert!((0..100).all(|_| bucket.take(0, u64::MAX, RateLimit::default()).is_ok()));
        let slow = RateLimit { per_second: 1, burst: 0 };
        assert!(bucket.take(0, u64::MAX, slow).is_ok());
        assert!(bucket.take(1, u64::MAX, slow).is_err());
    }
}
