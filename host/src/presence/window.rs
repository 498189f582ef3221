//! When a diff goes out: a few at once, each on its own; more of them joined.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Diff;
use crate::protocol::Topic;

/// How many diffs a topic is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The diffs that go out on their own within a window. Default 8.
    pub burst: u32,
    /// How long a window is; with none, every diff goes out on its own. Default 100 ms.
    pub window: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { burst: 8, window: Duration::from_millis(100) }
    }
}

/// The diffs of one topic within a window of time.
///
/// A window begins with the first diff after the last one's end. What comes after its burst waits, and goes out as one
/// diff at its end, which is the first of the next window: so a topic is sent at most `burst` diffs in a window (one, if
/// `burst` is 0), but for those that [`Window::BYTES_MAX`] makes.
///
/// A diff that waits holds each entry once as a join and once as a leave; so what bounds it are the operations within the
/// window, and in the end `BYTES_MAX`, at which it doesn't wait any longer.
#[derive(Debug)]
pub struct Window {
    ends: Instant,
    sent: u32,
    waiting: Diff,
    /// Whether somebody was asked to flush it.
    is_due: bool,
}

/// What is to be done with a diff.
#[derive(Debug, PartialEq, Eq)]
pub enum Offer {
    /// This goes out now.
    Send(Diff),
    /// It waits, and the window is to be flushed at that time.
    Flush(Instant),
    /// It waits with others.
    Wait,
}

impl Window {
    /// The bytes, by [`Diff::bytes`], from which on a joined diff goes out before the window's end: 256 KiB. It may be
    /// larger by the last diff that was added.
    pub const BYTES_MAX: usize = 256 << 10;

    /// A window that begins.
    #[must_use]
    pub fn new(now: Instant, pace: &Pace) -> Self {
        Self { ends: now + pace.window, sent: 0, waiting: Diff::default(), is_due: false }
    }

    /// Takes a diff. It goes out after all that were taken before.
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

    /// Ends the window, and gives what has waited for that.
    pub fn flush(&mut self, now: Instant, pace: &Pace) -> Option<Diff> {
        self.is_due = false;
        if self.waiting.is_empty() {
            return None;
        }
        let waiting = std::mem::take(&mut self.waiting);
        *self = Self { sent: 1, ..Self::new(now, pace) };
        Some(waiting)
    }

    /// Whether it has ended, and nothing is left to do. Then it is as good as none.
    #[must_use]
    pub fn is_over(&self, now: Instant) -> bool {
        !self.is_due && now >= self.ends
    }
}

/// The windows of those topics in which something has happened lately.
#[derive(Debug)]
pub(super) struct Windows {
    topics: HashMap<Topic, Window>,
    /// How many there may be until those that are over are taken away.
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

    /// Twice as many may come before the next time, so that the work is a constant for each.
    fn sweep(&mut self, now: Instant) {
        self.topics.retain(|_, window| !window.is_over(now));
        self.sweep_at = (self.topics.len() * 2).max(Self::SWEEP_AT_LEAST);
        self.topics.shrink_to(self.sweep_at);
    }
}

#[cfg(test)]
mod tests {
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
    fn what_is_beyond_the_burst_waits_for_the_windows_end() {
        let (pace, start) = (Pace { burst: 2, window: MS * 100 }, Instant::now());
        let mut window = Window::new(start, &pace);
        for clock in 1..3 {
            assert_eq!(window.offer(join(clock), start, &pace), Offer::Send(join(clock)));
        }
        assert_eq!(window.offer(join(3), start + MS, &pace), Offer::Flush(start + MS * 100));
        assert_eq!(window.offer(leave(3), start + MS, &pace), Offer::Wait);
        // The flush is late: what comes meanwhile doesn't overtake.
        let late = start + MS * 150;
        assert_eq!(window.offer(leave(1), late, &pace), Offer::Wait);
        assert_eq!(window.flush(late, &pace).as_ref().map(clocks), Some((vec![3], vec![1, 3])));
        // It was the first of the next window.
        assert_eq!(window.offer(join(4), late + MS, &pace), Offer::Send(join(4)));
        assert_eq!(window.offer(join(5), late + MS, &pace), Offer::Flush(late + MS * 100));
        assert!(!window.is_over(late + MS * 100) && window.flush(late + MS * 100, &pace).is_some());
        // After a quiet window the burst is there again.
        let quiet = late + MS * 200;
        assert!(window.is_over(quiet));
        assert_eq!(window.offer(join(6), quiet, &pace), Offer::Send(join(6)));
        assert_eq!(window.offer(join(7), quiet, &pace), Offer::Send(join(7)));
    }

    #[test]
    fn who_left_and_came_back_under_the_same_ref_is_there() {
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
    fn what_waits_is_bounded() {
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
    fn quiet_topics_are_not_kept() {
        let (pace, start) = (Pace::default(), Instant::now());
        let mut windows = Windows::new();
        for at in 0..10_000u32 {
            let now = start + MS * at;
            let diff = windows.offer(&Topic::new(&format!("room:{at}")), join(1), now, &pace);
            assert_eq!(diff, Offer::Send(join(1)));
            // A hundred windows last at any time.
            assert!(windows.topics.len() <= 202, "{}", windows.topics.len());
        }
    }
}
