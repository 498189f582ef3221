//! When a diff is sent: a few at once, each alone, and more of them merged.

use std::collections::HashMap;
use std::time::Instant;

use super::{Diff, Pace};
use crate::protocol::Topic;

/// The diffs of one topic within a window of time.
///
/// A window begins with the first diff after the end of the previous window. The first `burst` diffs are sent alone.
/// Further diffs wait and are merged, and the merged diff is sent at the window's end. It counts as the first diff of
/// the next window. So at most `burst` diffs are sent in a window (one, if `burst` is 0), in addition to those that
/// [`Window::BYTES_MAX`] causes.
///
/// A waiting diff contains each entry at most once as a join and once as a leave. So the operations within the window
/// limit its size. At `BYTES_MAX` it is sent before the window ends.
#[derive(Debug)]
pub struct Window {
    ends: Instant,
    sent: u32,
    waiting: Diff,
    /// Whether a flush was requested, and has not happened yet.
    is_due: bool,
}

/// What the caller must do with a diff.
#[derive(Debug, PartialEq, Eq)]
pub enum Offer {
    /// Send this diff now.
    Send(Diff),
    /// The diff waits. Flush the window at this time.
    Flush(Instant),
    /// The diff waits. A flush was requested already.
    Wait,
}

impl Window {
    /// The bytes, by [`Diff::bytes`], at which a merged diff is sent before the window's end: 256 KiB. The diff may be
    /// larger, by the last diff that was merged into it.
    pub const BYTES_MAX: usize = 256 << 10;

    /// Starts a window.
    #[must_use]
    pub fn new(now: Instant, pace: &Pace) -> Self {
        Self { ends: now + pace.window, sent: 0, waiting: Diff::default(), is_due: false }
    }

    /// Adds a diff. It is sent after all earlier ones.
    pub fn offer(&mut self, diff: Diff, now: Instant, pace: &Pace) -> Offer {
        if self.is_over(now) {
            *self = Self::new(now, pace);
        }
        if self.waiting.is_empty() && (self.sent < pace.burst || pace.window.is_zero()) {
            self.sent += 1;
            return Offer::Send(diff);
        }
        self.waiting.then(&diff);
        if self.waiting.bytes() >= Self::BYTES_MAX {
            return Offer::Send(std::mem::take(&mut self.waiting));
        }
        if std::mem::replace(&mut self.is_due, true) { Offer::Wait } else { Offer::Flush(self.ends) }
    }

    /// Ends the window. Returns the diff that has waited, if there is one.
    pub fn flush(&mut self, now: Instant, pace: &Pace) -> Option<Diff> {
        self.is_due = false;
        if self.waiting.is_empty() {
            return None;
        }
        let waiting = std::mem::take(&mut self.waiting);
        *self = Self { sent: 1, ..Self::new(now, pace) };
        Some(waiting)
    }

    /// Whether it has ended and no flush is due. It can be removed then: a new window behaves the same.
    #[must_use]
    pub fn is_over(&self, now: Instant) -> bool {
        !self.is_due && now >= self.ends
    }
}

/// The windows of the topics that have changed lately.
#[derive(Debug)]
pub(super) struct Windows {
    topics: HashMap<Topic, Window>,
    /// The number of windows at which the ended ones are removed.
    sweep_at: usize,
}

impl Windows {
    const SWEEP_AT_LEAST: usize = 64;

    pub(super) fn new() -> Self {
        Self { topics: HashMap::new(), sweep_at: Self::SWEEP_AT_LEAST }
    }

    pub(super) fn offer(&mut self, topic: &Topic, diff: Diff, now: Instant, pace: &Pace) -> Offer {
        if pace.window.is_zero() {
            return Offer::Send(diff);
        }
        if self.topics.len() >= self.sweep_at {
            self.sweep(now);
        }
        self.topics.entry(topic.clone()).or_insert_with(|| Window::new(now, pace)).offer(diff, now, pace)
    }

    pub(super) fn flush(&mut self, topic: &Topic, now: Instant, pace: &Pace) -> Option<Diff> {
        self.topics.get_mut(topic)?.flush(now, pace)
    }

    /// Removes the windows that are over. The next sweep is at twice the number of remaining windows, so the average
    /// cost per diff is constant.
    fn sweep(&mut self, now: Instant) {
        self.topics.retain(|_, window| !window.is_over(now));
        self.sweep_at = (self.topics.len() * 2).max(Self::SWEEP_AT_LEAST);
        self.topics.shrink_to(self.sweep_at);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use std::sync::Arc;

    use super::super::{PresenceEntry, Replica};
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn entry(clock: u64, meta: &str) -> Arc<PresenceEntry> {
        let (replica, topic) = (Replica::new("a", 0, 1), Topic::new("room:a"));
        Arc::new(PresenceEntry { replica, clock, before: None, topic, key: "k".into(), member: 1, meta: meta.into() })
    }

    fn join(clock: u64) -> Diff {
        let mut diff = Diff::default();
        diff.join(&entry(clock, "{}"));
        diff
    }

    fn leave(clock: u64) -> Diff {
        let mut diff = Diff::default();
        diff.leave(&entry(clock, "{}"));
        diff
    }

    fn clocks(diff: &Diff) -> (Vec<u64>, Vec<u64>) {
        (diff.joins().map(|entry| entry.clock).collect(), diff.leaves().map(|entry| entry.clock).collect())
    }

    #[test]
    fn diffs_after_the_burst_wait_for_the_end_of_the_window() {
        let (pace, start) = (Pace { burst: 2, window: MS * 100 }, Instant::now());
        let mut window = Window::new(start, &pace);
        for clock in 1..3 {
            assert_eq!(window.offer(join(clock), start, &pace), Offer::Send(join(clock)));
        }
        assert_eq!(window.offer(join(3), start + MS, &pace), Offer::Flush(start + MS * 100));
        assert_eq!(window.offer(leave(3), start + MS, &pace), Offer::Wait);
        // The flush is late. A diff that comes before it waits too.
        let late = start + MS * 150;
        assert_eq!(window.offer(leave(1), late, &pace), Offer::Wait);
        assert_eq!(window.flush(late, &pace).as_ref().map(clocks), Some((vec![3], vec![1, 3])));
        // The merged diff was the first of the next window.
        assert_eq!(window.offer(join(4), late + MS, &pace), Offer::Send(join(4)));
        assert_eq!(window.offer(join(5), late + MS, &pace), Offer::Flush(late + MS * 100));
        assert!(!window.is_over(late + MS * 100) && window.flush(late + MS * 100, &pace).is_some());
        // After a window without diffs, the whole burst is available again.
        let quiet = late + MS * 200;
        assert!(window.is_over(quiet));
        assert_eq!(window.offer(join(6), quiet, &pace), Offer::Send(join(6)));
        assert_eq!(window.offer(join(7), quiet, &pace), Offer::Send(join(7)));
    }

    #[test]
    fn an_entry_that_left_and_joined_again_under_its_ref_is_online() {
        let cases: [(&[Diff], _); 5] = [
            (&[join(1), leave(1)], (vec![1], vec![1])),
            (&[leave(1), join(1)], (vec![1], vec![])),
            (&[leave(1), join(1), leave(1)], (vec![1], vec![1])),
            (&[join(1), leave(1), join(1)], (vec![1], vec![])),
            (&[leave(1), join(2), leave(2), join(3)], (vec![2, 3], vec![1, 2])),
        ];
        for (diffs, expected) in cases {
            let mut all = Diff::default();
            diffs.iter().for_each(|diff| all.then(diff));
            assert_eq!(clocks(&all), expected);
            let weights = all.joins().chain(all.leaves()).map(|entry| entry.weight()).sum::<usize>();
            assert_eq!(all.bytes(), weights);
        }
    }

    #[test]
    fn a_waiting_diff_is_bounded() {
        let (pace, now) = (Pace { burst: 0, window: MS * 100 }, Instant::now());
        let mut window = Window::new(now, &pace);
        let meta = format!("{{\"x\":\"{}\"}}", "x".repeat(4000));
        let (mut sent, mut flushes) = (0, 0);
        for clock in 0..1000 {
            let mut diff = Diff::default();
            diff.join(&entry(clock, &meta));
            match window.offer(diff, now, &pace) {
                Offer::Send(diff) => {
                    assert!((Window::BYTES_MAX..Window::BYTES_MAX + 5000).contains(&diff.bytes()));
                    sent += diff.joins().count();
                }
                Offer::Flush(_) => flushes += 1,
                Offer::Wait => {}
            }
        }
        let rest = window.flush(now, &pace).map_or(0, |diff| diff.joins().count());
        assert_eq!((sent + rest, flushes), (1000, 1));
        assert!(rest < 100);
    }

    #[test]
    fn windows_of_topics_without_changes_are_removed() {
        let (pace, start) = (Pace::default(), Instant::now());
        let mut windows = Windows::new();
        for at in 0..10_000u32 {
            let now = start + MS * at;
            let diff = windows.offer(&Topic::new(&format!("room:{at}")), join(1), now, &pace);
            assert_eq!(diff, Offer::Send(join(1)));
            // At any time, a hundred windows have not ended.
            assert!(windows.topics.len() <= 202, "{}", windows.topics.len());
        }
    }
}
