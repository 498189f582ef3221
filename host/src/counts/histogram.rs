//! A histogram of durations.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How many durations there were up to each bound, and their sum. `bounds` are in nanoseconds.
///
/// The numbers are independent of each other, so a reader may see a duration in one of them and not yet in another.
#[derive(Debug)]
pub struct Histogram<const BUCKETS: usize> {
    /// The number of durations in each bucket, without those below it.
    buckets: [AtomicU64; BUCKETS],
    /// Those that are longer than the last bound.
    longer: AtomicU64,
    nanoseconds: AtomicU64,
}

/// The numbers of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistogramCounts<const BUCKETS: usize> {
    /// The number of durations in each bucket, without those below it.
    pub buckets: [u64; BUCKETS],
    /// Those that are longer than the last bound.
    pub longer: u64,
    /// The sum.
    pub nanoseconds: u64,
}

impl<const BUCKETS: usize> Default for Histogram<BUCKETS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const BUCKETS: usize> Histogram<BUCKETS> {
    /// A histogram without durations.
    #[must_use]
    pub const fn new() -> Self {
        let [longer, nanoseconds] = [const { AtomicU64::new(0) }; 2];
        Self { buckets: [const { AtomicU64::new(0) }; BUCKETS], longer, nanoseconds }
    }

    /// Counts a duration as often as `weight` says.
    pub fn add(&self, bounds: &[Duration; BUCKETS], duration: Duration, weight: u64) {
        let place = bounds.iter().position(|bound| duration <= *bound);
        let bucket = place.map_or(&self.longer, |place| &self.buckets[place]);
        bucket.fetch_add(weight, Ordering::Relaxed);
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds.saturating_mul(weight), Ordering::Relaxed);
    }

    /// Returns the numbers of now.
    #[must_use]
    pub fn counts(&self) -> HistogramCounts<BUCKETS> {
        let buckets = std::array::from_fn(|place| self.buckets[place].load(Ordering::Relaxed));
        let (longer, nanoseconds) = (self.longer.load(Ordering::Relaxed), self.nanoseconds.load(Ordering::Relaxed));
        HistogramCounts { buckets, longer, nanoseconds }
    }
}

impl<const BUCKETS: usize> Default for HistogramCounts<BUCKETS> {
    fn default() -> Self {
        Self { buckets: [0; BUCKETS], longer: 0, nanoseconds: 0 }
    }
}

impl<const BUCKETS: usize> HistogramCounts<BUCKETS> {
    /// Adds the numbers of another histogram with the same bounds.
    pub fn add(&mut self, other: &Self) {
        self.buckets.iter_mut().zip(other.buckets).for_each(|(bucket, more)| *bucket += more);
        self.longer += other.longer;
        self.nanoseconds += other.nanoseconds;
    }

    /// Returns the number of all durations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum::<u64>() + self.longer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let bounds = [1, 10, 100].map(Duration::from_millis);
        let histogram = Histogram::default();
        for (millis, weight) in [(0, 1), (1, 1), (2, 16), (100, 1), (101, 1)] {
            histogram.add(&bounds, Duration::from_millis(millis), weight);
        }
        let mut counts = histogram.counts();
        assert_eq!((counts.buckets, counts.longer, counts.count()), ([2, 16, 1], 1, 20));
        assert_eq!(counts.nanoseconds, (1 + 32 + 100 + 101) * 1_000_000);
        counts.add(&counts.clone());
        assert_eq!((counts.buckets, counts.longer), ([4, 32, 2], 2));
    }
}
