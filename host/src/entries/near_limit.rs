//! Warnings about sums that are near their limits.

use std::sync::atomic::{AtomicBool, Ordering};

use super::topic::TopicEntries;

/// Whether a sum is near its limit. It is near from 80 % of the limit on, until it is below 70 %. So a sum that goes up and
/// down a little causes one warning.
#[derive(Debug, Default)]
pub(super) struct NearLimit(AtomicBool);

impl NearLimit {
    /// Takes another value of the sum. Returns whether the sum is near its limit now, and wasn't before.
    pub(super) fn rises_near(&self, bytes: u64, most: u64) -> bool {
        // Divided first, so that nothing overflows. A limit has many bytes, so the remainder doesn't matter.
        let tenth = most / 10;
        // Relaxed: the flag is only a flag, and no other memory is read by its value.
        if bytes < 7 * tenth {
            // A read first, because most sums are always small.
            if self.0.load(Ordering::Relaxed) {
                self.0.store(false, Ordering::Relaxed);
            }
            return false;
        }
        bytes > 8 * tenth && !self.0.swap(true, Ordering::Relaxed)
    }
}

/// Logs that a sum is near its limit.
pub(super) fn warn_near(topic: &TopicEntries, limit: &str, bytes: u64, most: u64) {
    tracing::warn!(
        plugin = topic.owner().name(),
        topic = topic.name().as_str(),
        limit,
        bytes,
        most,
        "entries_near_limit: more than 80 % of a limit is in use"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_near_its_limit_once_until_it_has_become_smaller() {
        let near = NearLimit::default();
        let rises = [10, 80, 81, 100, 75, 90, 70, 99, 69, 80, 81].map(|bytes| near.rises_near(bytes, 100));
        let expected = [false, false, true, false, false, false, false, false, false, false, true];
        assert_eq!(rises, expected);
        assert!(NearLimit::default().rises_near(u64::MAX, u64::MAX));
    }
}
