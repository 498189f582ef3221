//! The windows of all topics, which decide when a diff is sent. The rule is in `bennu_semantics`.

use std::collections::HashMap;
use std::time::Instant;

use bennu_semantics::MergeableDiff;

use super::{Diff, Pace};
use crate::protocol::Topic;

/// The window of one topic.
pub type Window = bennu_semantics::PresenceWindow<Diff, Instant>;

/// What the caller must do with a diff.
pub type Offer = bennu_semantics::Offer<Diff, Instant>;

impl MergeableDiff for Diff {
    fn is_empty(&self) -> bool {
        self.is_empty()
    }

    fn bytes(&self) -> usize {
        self.bytes()
    }

    fn merge(&mut self, later: Self) {
        self.then(&later);
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
