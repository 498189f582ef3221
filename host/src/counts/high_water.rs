//! The largest values of the last one to two minutes.

use std::sync::atomic::{AtomicU64, Ordering};

/// What is measured. Each value is the largest of the last one to two minutes: [`HighWater::next_minute`] is called once a
/// minute. A maximum since the start would show an old peak for ever, and one since the last scrape would be wrong with two
/// scrapers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HighWater {
    /// Frames that waited in one outbox.
    OutboxFrames,
    /// Bytes that waited in one outbox.
    OutboxBytes,
    /// Messages from a client that waited for their channel.
    MailboxFromClient,
    /// Messages from elsewhere that waited for one member.
    MailboxFromElsewhere,
    /// Topic messages that waited for one topic.
    TopicMessages,
    /// Jobs that waited for the `handle_out` of one topic.
    HandleOut,
    /// Commits that were written to the store together.
    StoreBatch,
    /// Bytes of lines that waited to be written to the log.
    LogBytes,
}

static MARKS: [Mark; 8] = [const { Mark::new() }; 8];

/// The largest value of this minute, and of the one before.
struct Mark {
    now: AtomicU64,
    before: AtomicU64,
}

impl HighWater {
    /// Takes a value into account.
    #[inline]
    pub fn note(self, value: usize) {
        MARKS[self as usize].note(value as u64);
    }

    /// Returns the largest value of this minute and of the one before.
    #[must_use]
    pub fn value(self) -> u64 {
        MARKS[self as usize].value()
    }

    /// Begins a new minute for all values.
    pub fn next_minute() {
        MARKS.iter().for_each(Mark::next_minute);
    }
}

/// Relaxed, because no other memory is read by these values.
impl Mark {
    const fn new() -> Self {
        Self { now: AtomicU64::new(0), before: AtomicU64::new(0) }
    }

    #[inline]
    fn note(&self, value: u64) {
        // A read first: the maximum rarely changes, so the threads share its cache line.
        if value > self.now.load(Ordering::Relaxed) {
            self.now.fetch_max(value, Ordering::Relaxed);
        }
    }

    fn value(&self) -> u64 {
        self.now.load(Ordering::Relaxed).max(self.before.load(Ordering::Relaxed))
    }

    /// A value that is noted at the same time counts for one of the two minutes.
    fn next_minute(&self) {
        self.before.store(self.now.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_for_two_minutes() {
        let mark = Mark::new();
        mark.note(7);
        mark.note(5);
        assert_eq!(mark.value(), 7);
        mark.next_minute();
        mark.note(6);
        assert_eq!(mark.value(), 7);
        mark.next_minute();
        assert_eq!(mark.value(), 6);
        mark.next_minute();
        assert_eq!(mark.value(), 0);
    }
}
