//! The histories of all topics: their limits, their counts, and the sweeps that drop old broadcasts.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::task::yield_now;
use tokio::time::Instant;

use super::history::History;
use super::{Audience, PubSub};
use crate::parcel::{BroadcastRecord, HistoryRecord};
use crate::protocol::Topic;

/// How often the histories are swept.
const SWEEP: Duration = Duration::from_secs(1);

/// The number of histories after which a sweep yields to other tasks.
const SWEPT_AT_ONCE: usize = 64;

/// The limits of the memory of histories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// The most bytes of one topic's history. The oldest broadcasts are dropped past it.
    pub topic_bytes: usize,
    /// The most bytes of all histories. Past it a topic drops its own oldest broadcasts. Sweeps drop the oldest of all
    /// topics before.
    pub host_bytes: usize,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self { topic_bytes: 1 << 20, host_bytes: 64 << 20 }
    }
}

/// The histories of all topics.
///
/// The counts are independent of each other, so all their accesses are relaxed. The bytes are changed under the lock of
/// the history's audience. A comparison with a limit may be late by the broadcasts that other topics keep meanwhile.
#[derive(Default)]
pub struct Histories {
    /// None before they are set. A reload of the configuration replaces them.
    limits: ArcSwapOption<HistoryLimits>,
    /// The audiences that have a history. The lock comes after the lock of an audience.
    audiences: Mutex<HashMap<Topic, Weak<Audience>>>,
    topics: AtomicUsize,
    stored: AtomicUsize,
    bytes: AtomicUsize,
    recovered: AtomicU64,
    missed: AtomicU64,
}

impl Histories {
    /// Sets the limits. A history that is larger is shortened by its next broadcast, or by the next sweep.
    pub fn set_limits(&self, limits: HistoryLimits) {
        self.limits.store(Some(Arc::new(limits)));
    }

    /// The limits, or the default ones.
    #[must_use]
    pub fn limits(&self) -> HistoryLimits {
        self.limits.load().as_deref().copied().unwrap_or_default()
    }

    /// The topics that have a history.
    #[must_use]
    pub fn topics(&self) -> usize {
        self.topics.load(Ordering::Relaxed)
    }

    /// The kept broadcasts of all topics.
    #[must_use]
    pub fn stored(&self) -> usize {
        self.stored.load(Ordering::Relaxed)
    }

    /// The bytes that are counted for all histories.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How many clients have joined again since the start and got all that they had missed.
    #[must_use]
    pub fn recovered(&self) -> u64 {
        self.recovered.load(Ordering::Relaxed)
    }

    /// How many clients have joined again since the start and were told that they had missed broadcasts.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    pub(super) fn count_recovery(&self, is_recovered: bool) {
        let count = if is_recovered { &self.recovered } else { &self.missed };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_history(&self, begins: bool) {
        if begins {
            self.topics.fetch_add(1, Ordering::Relaxed);
        } else {
            self.topics.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn count_stored(&self, more: usize, fewer: usize) {
        self.stored.fetch_add(more, Ordering::Relaxed);
        self.stored.fetch_sub(fewer, Ordering::Relaxed);
    }

    pub(super) fn add_bytes(&self, more: usize) {
        self.bytes.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn remove_bytes(&self, fewer: usize) {
        self.bytes.fetch_sub(fewer, Ordering::Relaxed);
    }

    /// Whether the limit of the host is exceeded.
    pub(super) fn is_over(&self) -> bool {
        self.bytes() > self.limits().host_bytes
    }

    /// Whether more than seven eighths of the limit are in use.
    pub(super) fn is_tight(&self) -> bool {
        self.bytes() > self.limits().host_bytes / 8 * 7
    }

    pub(super) fn enter(&self, topic: &Topic, audience: &Arc<Audience>) {
        self.lock().insert(topic.clone(), Arc::downgrade(audience));
    }

    /// Removes an audience whose history has ended, while the audience is locked.
    pub(super) fn remove(&self, topic: &Topic, gone: &Audience) {
        let mut audiences = self.lock();
        if audiences.get(topic).is_some_and(|audience| std::ptr::eq(audience.as_ptr(), gone)) {
            audiences.remove(topic);
        }
    }

    pub(super) fn all(&self) -> Vec<(Topic, Arc<Audience>)> {
        let mut audiences = self.lock();
        audiences.retain(|_, audience| audience.strong_count() > 0);
        audiences.iter().filter_map(|(topic, audience)| Some((topic.clone(), audience.upgrade()?))).collect()
    }

    /// No panic can leave the data half changed, so a poisoned lock is used like any other.
    fn lock(&self) -> MutexGuard<'_, HashMap<Topic, Weak<Audience>>> {
        self.audiences.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PubSub {
    /// The topics that have a history.
    #[must_use]
    pub fn topics_with_history(&self) -> Vec<Topic> {
        self.histories.all().into_iter().map(|(topic, _)| topic).collect()
    }

    /// The history of a topic, and its broadcasts, to be handed over.
    #[must_use]
    pub fn pack_history(&self, topic: &str) -> Option<(HistoryRecord, Vec<BroadcastRecord>)> {
        self.audience(topic)?.lock().history.as_ref().map(|history| history.pack())
    }

    /// Takes the history of another host over.
    pub fn adopt_history(&self, topic: &Topic, record: HistoryRecord, broadcasts: Vec<BroadcastRecord>) {
        let history = Box::new(History::adopted(topic, record, broadcasts, &self.histories));
        loop {
            let audience = self.enter(topic);
            let mut inner = audience.lock();
            if !inner.closed {
                inner.history = Some(history);
                return self.histories.enter(topic, &audience);
            }
            drop(inner);
            self.forget(topic, &audience);
        }
    }

    /// Broadcasts of another node to some topics were lost. Their histories begin anew, so that no client believes that it has
    /// got all, and the readers of the log of events are told.
    pub fn lose_broadcasts(&self, is_affected: impl Fn(&str) -> bool) {
        for (topic, audience) in self.histories.all() {
            if is_affected(topic.as_str()) {
                audience.lose_broadcasts();
            }
        }
        self.events.lose();
    }

    /// Sweeps the histories and the log of events at regular times.
    pub async fn keep_sweeping_histories(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SWEEP).await;
            self.sweep_histories().await;
            self.events.sweep();
        }
    }

    /// Drops the broadcasts that are too old, and ends the histories that nobody can need any more. If seven eighths of the
    /// limit are in use, drops the oldest broadcasts of all topics until a quarter of the limit is free.
    pub async fn sweep_histories(&self) {
        let (all, now) = (self.histories.all(), Instant::now());
        let limit = if self.histories.is_tight() {
            let mut ages = Ages::default();
            for (at, (_, audience)) in all.iter().enumerate() {
                audience.count_history_ages(now, &mut ages);
                yield_sometimes(at).await;
            }
            let target = self.histories.limits().host_bytes / 4 * 3;
            ages.limit(self.histories.bytes().saturating_sub(target)).map(|age| now - age)
        } else {
            None
        };
        for (at, (topic, audience)) in all.into_iter().enumerate() {
            if audience.sweep_history(&topic, now, limit, &self.histories) {
                self.forget(&topic, &audience);
            }
            yield_sometimes(at).await;
        }
    }
}

async fn yield_sometimes(at: usize) {
    if at % SWEPT_AT_ONCE == SWEPT_AT_ONCE - 1 {
        yield_now().await;
    }
}

/// Bytes by their age, in groups. Each group has ages that are up to twice as long as those of the group before.
pub(super) struct Ages([usize; u64::BITS as usize + 1]);

impl Default for Ages {
    fn default() -> Self {
        Self([0; u64::BITS as usize + 1])
    }
}

impl Ages {
    pub(super) fn add(&mut self, age: Duration, bytes: usize) {
        self.0[Self::group(age)] += bytes;
    }

    fn group(age: Duration) -> usize {
        let milliseconds = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        (u64::BITS - milliseconds.leading_zeros()) as usize
    }

    /// The age from which on everything must be dropped, so that at least `bytes` are freed. None for no bytes.
    fn limit(&self, bytes: usize) -> Option<Duration> {
        let mut freed = 0;
        let groups = self.0.iter().enumerate().rev();
        let last = groups.take_while(|(_, group)| {
            let is_needed = freed < bytes;
            freed += **group;
            is_needed
        });
        let (group, _) = last.last()?;
        Some(Duration::from_millis(if group == 0 { 0 } else { 1 << (group - 1) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_groups_are_dropped_until_enough_is_free() {
        let mut ages = Ages::default();
        for (milliseconds, bytes) in [(0, 10), (1, 10), (500, 10), (700, 10), (5_000, 10)] {
            ages.add(Duration::from_millis(milliseconds), bytes);
        }
        let limit = |bytes| ages.limit(bytes).map(|age| age.as_millis());
        assert_eq!((limit(0), limit(1), limit(10)), (None, Some(4096), Some(4096)));
        assert_eq!((limit(11), limit(20)), (Some(512), Some(512)));
        assert_eq!((limit(21), limit(31), limit(41), limit(99)), (Some(256), Some(1), Some(0), Some(0)));
    }
}
