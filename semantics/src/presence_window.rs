//! When a presence diff is sent: a few at once, each alone, and more of them merged.
//!
//! The host and the world of the test kits share this rule. The presences themselves are in two places. The host's are a
//! replicated set, whose entries are shared and encoded without copies. The world's are values that a test can copy and
//! compare. Scripts that run on both check that the results are equal (`tests/scripts/presence*.script`).

use std::ops::Add;
use std::time::Duration;

use crate::limits::Pace;

/// A diff of a topic's presences that later diffs can be merged into.
pub trait MergeableDiff: Default {
    /// Whether it contains no entry.
    fn is_empty(&self) -> bool;

    /// Returns its approximate size in bytes.
    fn bytes(&self) -> usize;

    /// Merges a later diff into this one.
    fn merge(&mut self, later: Self);
}

/// The diffs `D` of one topic within a window of time. `T` is a point in time.
///
/// A window begins with the first diff after the end of the previous window. The first `burst` diffs are sent alone.
/// Further diffs wait and are merged, and the merged diff is sent at the window's end. It counts as the first diff of
/// the next window. So at most `burst` diffs are sent in a window (one, if `burst` is 0), in addition to those that
/// [`PresenceWindow::BYTES_MAX`] causes.
///
/// A waiting diff contains each entry at most once as a join and once as a leave. So the operations within the window
/// limit its size. At `BYTES_MAX` it is sent before the window ends.
#[derive(Clone, Debug)]
pub struct PresenceWindow<D, T> {
    ends: T,
    sent: u32,
    waiting: D,
    /// Whether a flush was requested, and has not happened yet.
    is_due: bool,
}

/// What the caller must do with a diff.
#[derive(Debug, PartialEq, Eq)]
pub enum Offer<D, T> {
    /// Send this diff now.
    Send(D),
    /// The diff waits. Flush the window at this time.
    Flush(T),
    /// The diff waits. A flush was requested already.
    Wait,
}

impl<D: MergeableDiff, T: Copy + Ord + Add<Duration, Output = T>> PresenceWindow<D, T> {
    /// The bytes, by [`MergeableDiff::bytes`], at which a merged diff is sent before the window's end: 256 KiB. The diff
    /// may be larger, by the last diff that was merged into it.
    pub const BYTES_MAX: usize = 256 << 10;

    /// Starts a window.
    #[must_use]
    pub fn new(now: T, pace: &Pace) -> Self {
        Self { ends: now + pace.window, sent: 0, waiting: D::default(), is_due: false }
    }

    /// Adds a diff. It is sent after all earlier ones.
    pub fn offer(&mut self, diff: D, now: T, pace: &Pace) -> Offer<D, T> {
        if self.is_over(now) {
            *self = Self::new(now, pace);
        }
        if self.waiting.is_empty() && (self.sent < pace.burst || pace.window.is_zero()) {
            self.sent += 1;
            return Offer::Send(diff);
        }
        self.waiting.merge(diff);
        if self.waiting.bytes() >= Self::BYTES_MAX {
            return Offer::Send(std::mem::take(&mut self.waiting));
        }
        if std::mem::replace(&mut self.is_due, true) { Offer::Wait } else { Offer::Flush(self.ends) }
    }

    /// Ends the window. Returns the diff that has waited, if there is one.
    pub fn flush(&mut self, now: T, pace: &Pace) -> Option<D> {
        self.is_due = false;
        if self.waiting.is_empty() {
            return None;
        }
        let waiting = std::mem::take(&mut self.waiting);
        *self = Self { sent: 1, ..Self::new(now, pace) };
        Some(waiting)
    }

    /// Returns the time of the requested flush, if one was requested and has not happened yet.
    pub fn due(&self) -> Option<T> {
        self.is_due.then_some(self.ends)
    }

    /// Whether it has ended and no flush is due. It can be removed then: a new window behaves the same.
    pub fn is_over(&self, now: T) -> bool {
        !self.is_due && now >= self.ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A diff of numbers, each of 4 KiB.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct Numbers(Vec<u32>);

    impl MergeableDiff for Numbers {
        fn is_empty(&self) -> bool {
            self.0.is_empty()
        }

        fn bytes(&self) -> usize {
            self.0.len() << 12
        }

        fn merge(&mut self, later: Self) {
            self.0.extend(later.0);
        }
    }

    fn one(number: u32) -> Numbers {
        Numbers(vec![number])
    }

    #[test]
    fn diffs_after_the_burst_wait_for_the_end_of_the_window() {
        let (pace, start) = (Pace { burst: 2, window: MS * 100 }, MS * 7);
        let mut window = PresenceWindow::new(start, &pace);
        for number in 1..3 {
            assert_eq!(window.offer(one(number), start, &pace), Offer::Send(one(number)));
        }
        assert_eq!(window.offer(one(3), start + MS, &pace), Offer::Flush(start + MS * 100));
        assert_eq!(window.due(), Some(start + MS * 100));
        assert_eq!(window.offer(one(4), start + MS, &pace), Offer::Wait);
        // The flush is late. A diff that comes before it waits too.
        let late = start + MS * 150;
        assert_eq!(window.offer(one(5), late, &pace), Offer::Wait);
        assert_eq!(window.flush(late, &pace), Some(Numbers(vec![3, 4, 5])));
        assert_eq!(window.due(), None);
        // The merged diff was the first of the next window.
        assert_eq!(window.offer(one(6), late + MS, &pace), Offer::Send(one(6)));
        assert_eq!(window.offer(one(7), late + MS, &pace), Offer::Flush(late + MS * 100));
        assert!(!window.is_over(late + MS * 100) && window.flush(late + MS * 100, &pace).is_some());
        // After a window without diffs, the whole burst is available again.
        let quiet = late + MS * 200;
        assert!(window.is_over(quiet));
        assert_eq!(window.offer(one(8), quiet, &pace), Offer::Send(one(8)));
        assert_eq!(window.offer(one(9), quiet, &pace), Offer::Send(one(9)));
    }

    #[test]
    fn a_waiting_diff_is_bounded() {
        let (pace, now) = (Pace { burst: 0, window: MS * 100 }, MS);
        let mut window = PresenceWindow::new(now, &pace);
        let (mut sent, mut flushes) = (0, 0);
        for number in 0..1000 {
            match window.offer(one(number), now, &pace) {
                Offer::Send(diff) => {
                    assert_eq!(diff.bytes(), PresenceWindow::<Numbers, Duration>::BYTES_MAX);
                    sent += diff.0.len();
                }
                Offer::Flush(_) => flushes += 1,
                Offer::Wait => {}
            }
        }
        let rest = window.flush(now, &pace).map_or(0, |diff| diff.0.len());
        assert_eq!((sent + rest, flushes), (1000, 1));
        assert!(rest < 64);
    }
}
