//! The memory of all entries of the host.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bennu_semantics::Fault;
use bennu_semantics::entries::{EntryRules, Stamp, TableBytes};
use bennu_semantics::limits::{EntryLimits, keys};
use tokio::sync::Notify;

use super::near_limit::{NearLimit, warn_near};
use super::topic::TopicEntries;

/// The limits of the memory for the entries of durable rooms. Bytes are those of keys and values, and 64 for each entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// Bytes of stored entries in memory, for all topics. Past it, the least recently used are evicted. Default 64 MiB.
    pub cache_bytes: u64,
    /// Bytes of a topic's entries that aren't stored yet. Past it, they are stored with the next commit. Default 8 MiB.
    pub dirty_bytes: u64,
}

/// The entries of all rooms of a host: their rules, and the sums of their bytes.
#[derive(Debug, Default)]
pub struct EntriesNode {
    rules: Arc<EntryRules>,
    cache: CacheLimits,
    // The numbers are relaxed: each one is a number of its own, and no other memory is read by its value.
    /// The bytes of all [`Reservation`]s.
    reserved: AtomicU64,
    /// The bytes of stored entries of durable rooms.
    cached: AtomicU64,
    /// The bytes of entries of durable rooms that aren't stored yet.
    dirty: AtomicU64,
    /// The bytes that came into the cache since the start. The age of a slot is measured with it.
    filled: AtomicU64,
    /// The bytes of all journals.
    journals: AtomicU64,
    loaded: AtomicU64,
    evicted: AtomicU64,
    /// The bytes of all [`KeptBytes`].
    kept: AtomicU64,
    /// The entries of durable rooms, for the evictor. No other lock is taken under this one.
    topics: Mutex<HashMap<u64, Weak<TopicEntries>>>,
    next_id: AtomicU64,
    /// Wakes the evictor.
    pub(super) over_limit: Notify,
    /// Whether `entries_memory_bytes` is nearly reached.
    near_memory_limit: NearLimit,
}

/// The memory of the entries of a host, in bytes, and counts since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryUsage {
    /// The entries of memory rooms, and of calls that aren't committed yet.
    pub memory_bytes: u64,
    /// The stored entries of durable rooms.
    pub cached_bytes: u64,
    /// The entries of durable rooms that aren't stored yet.
    pub dirty_bytes: u64,
    /// The entries that are kept for rollbacks.
    pub journal_bytes: u64,
    /// The entries that were read from the store.
    pub loaded: u64,
    /// The entries that were evicted.
    pub evicted: u64,
}

/// The topics with entries may have this many times the unstored bytes of one topic.
const DIRTY_TOPICS: u64 = 8;

/// The age of the cached entries grows by one when this many bytes have come into the cache.
const BYTES_PER_AGE: u64 = 64 << 10;

impl Default for CacheLimits {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, dirty_bytes: 8 << 20 }
    }
}

/// The most bytes of texts and missed changes of published entries that all topics of a host keep. All of it can be made
/// again, or be replaced by a whole state.
const KEPT_BYTES_MAX: u64 = 64 << 20;

impl EntriesNode {
    /// A host with these limits, and the default limits of the memory for durable rooms.
    #[must_use]
    pub fn new(limits: EntryLimits) -> Arc<Self> {
        Self::with_cache(limits, CacheLimits::default())
    }

    /// A host with these limits, and without entries.
    #[must_use]
    pub fn with_cache(limits: EntryLimits, cache: CacheLimits) -> Arc<Self> {
        let rules = Arc::new(EntryRules { limits, ..EntryRules::default() });
        Arc::new(Self { rules, cache, ..Self::default() })
    }

    /// Returns the memory of all entries.
    #[must_use]
    pub fn usage(&self) -> EntryUsage {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        EntryUsage {
            memory_bytes: read(&self.reserved),
            cached_bytes: read(&self.cached),
            dirty_bytes: read(&self.dirty),
            journal_bytes: read(&self.journals),
            loaded: read(&self.loaded),
            evicted: read(&self.evicted),
        }
    }

    pub(super) fn journals(&self) -> &AtomicU64 {
        &self.journals
    }

    /// The most bytes of the missed changes of a topic.
    #[must_use]
    pub fn published_missed_bytes(&self) -> usize {
        self.rules.limits.published_missed_bytes
    }

    pub(super) fn rules(&self) -> &Arc<EntryRules> {
        &self.rules
    }

    /// Warns once if the entries of all memory rooms are near their limit. `topic` has grown.
    pub(super) fn check_memory(&self, topic: &TopicEntries) {
        let (bytes, most) = (self.reserved.load(Ordering::Relaxed), self.rules.limits.memory_bytes);
        if self.near_memory_limit.rises_near(bytes, most) {
            warn_near(topic, keys::ENTRIES_MEMORY_BYTES, bytes, most);
        }
    }

    pub(super) fn cache_limits(&self) -> &CacheLimits {
        &self.cache
    }

    /// The stamp of the entries that are used now.
    pub(super) fn now(&self) -> Stamp {
        // The table uses the low bits only.
        (self.filled.load(Ordering::Relaxed) / BYTES_PER_AGE) as Stamp
    }

    pub(super) fn count_loaded(&self, entries: usize) {
        self.loaded.fetch_add(entries as u64, Ordering::Relaxed);
    }

    pub(super) fn count_evicted(&self, slots: usize) {
        self.evicted.fetch_add(slots as u64, Ordering::Relaxed);
    }

    /// Adds the change of a table's size to the sums. Wakes the evictor if the cache is over its limit.
    pub(super) fn count(&self, before: TableBytes, after: TableBytes) {
        let move_to = |sum: &AtomicU64, before: usize, after: usize| match after.checked_sub(before) {
            Some(0) => {}
            Some(more) => drop(sum.fetch_add(more as u64, Ordering::Relaxed)),
            None => drop(sum.fetch_sub((before - after) as u64, Ordering::Relaxed)),
        };
        move_to(&self.dirty, before.dirty_bytes, after.dirty_bytes);
        move_to(&self.cached, before.clean_bytes, after.clean_bytes);
        let bytes = |size: TableBytes| size.clean_bytes + size.dirty_bytes;
        self.filled.fetch_add(bytes(after).saturating_sub(bytes(before)) as u64, Ordering::Relaxed);
        if after.clean_bytes > before.clean_bytes && self.cached.load(Ordering::Relaxed) > self.cache.cache_bytes {
            self.over_limit.notify_one();
        }
    }

    /// Whether the cache has so much more than its limit that further entries aren't kept.
    pub(super) fn is_full(&self) -> bool {
        let most = self.cache.cache_bytes.saturating_add(self.cache.cache_bytes / 4);
        self.cached.load(Ordering::Relaxed) > most
    }

    /// Whether the entries of all topics that aren't stored yet have too many bytes.
    pub(super) fn has_too_many_dirty(&self) -> bool {
        self.dirty.load(Ordering::Relaxed) > self.cache.dirty_bytes.saturating_mul(DIRTY_TOPICS)
    }

    /// Adds the entries of a durable room.
    pub(super) fn add(&self, topic: &Weak<TopicEntries>) -> u64 {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.topics().insert(id, Weak::clone(topic));
        id
    }

    pub(super) fn remove(&self, id: u64) {
        self.topics().remove(&id);
    }

    /// The entries of all durable rooms that are open.
    pub(super) fn all(&self) -> Vec<Arc<TopicEntries>> {
        self.topics().values().filter_map(Weak::upgrade).collect()
    }

    // No panic can leave the map half changed, so a poisoned lock is used like any other.
    fn topics(&self) -> MutexGuard<'_, HashMap<u64, Weak<TopicEntries>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part of `entries_memory_bytes`. It is released when it is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    node: Arc<EntriesNode>,
    bytes: u64,
}

impl Reservation {
    pub(super) fn none(node: &Arc<EntriesNode>) -> Self {
        Self { node: Arc::clone(node), bytes: 0 }
    }

    /// Reserves more, if it has fewer bytes than these.
    ///
    /// # Errors
    /// Fault: oversize, if the host's limit is exceeded. Then nothing changes.
    pub(super) fn grow_to(&mut self, bytes: u64) -> Result<(), Fault> {
        if bytes <= self.bytes {
            return Ok(());
        }
        let more = bytes - self.bytes;
        // Each caller first adds and then compares, so two callers can't both get the last bytes.
        let total = self.node.reserved.fetch_add(more, Ordering::Relaxed).saturating_add(more);
        if let Err(fault) = self.node.rules.limits.check_memory(total) {
            self.node.reserved.fetch_sub(more, Ordering::Relaxed);
            return Err(fault);
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Sets the bytes, without a check of the limit: nothing may prevent a rollback.
    pub(super) fn set(&mut self, bytes: u64) {
        self.node.reserved.fetch_add(bytes, Ordering::Relaxed);
        self.node.reserved.fetch_sub(std::mem::replace(&mut self.bytes, bytes), Ordering::Relaxed);
    }

    /// Takes another reservation over, and keeps these bytes of both. They are at most the sum of both.
    pub(super) fn take_over(&mut self, mut other: Self, bytes: u64) {
        let total = self.bytes.saturating_add(std::mem::take(&mut other.bytes));
        self.node.reserved.fetch_sub(total.saturating_sub(bytes), Ordering::Relaxed);
        self.bytes = bytes.min(total);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.node.reserved.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The bytes of a topic's texts and missed changes of published entries, as a part of those of the host.
#[derive(Debug)]
pub struct KeptBytes {
    node: Arc<EntriesNode>,
    bytes: u64,
}

impl KeptBytes {
    /// A topic that keeps nothing.
    #[must_use]
    pub fn none(node: &Arc<EntriesNode>) -> Self {
        Self { node: Arc::clone(node), bytes: 0 }
    }

    /// Sets the bytes that the topic keeps. Returns false if the host has no room for them. Then the topic has to drop what
    /// it keeps, and to call this again.
    #[must_use]
    pub fn set(&mut self, bytes: usize) -> bool {
        let (before, bytes) = (self.bytes, bytes as u64);
        self.bytes = bytes;
        if bytes <= before {
            self.node.kept.fetch_sub(before - bytes, Ordering::Relaxed);
            return true;
        }
        let more = bytes - before;
        self.node.kept.fetch_add(more, Ordering::Relaxed).saturating_add(more) <= KEPT_BYTES_MAX
    }
}

impl Drop for KeptBytes {
    fn drop(&mut self) {
        self.node.kept.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_are_bounded_together_and_released() {
        let node = EntriesNode::new(EntryLimits { memory_bytes: 100, ..EntryLimits::default() });
        let (mut first, mut second) = (Reservation::none(&node), Reservation::none(&node));
        assert_eq!((first.grow_to(60), first.grow_to(50), node.usage().memory_bytes), (Ok(()), Ok(()), 60));
        let fault = second.grow_to(41).map_err(|fault| fault.to_string());
        let text = "oversize: the entries of all memory rooms would have 101 bytes; at most 100 (`limits.entries_memory_bytes = 100`)";
        assert_eq!((fault, node.usage().memory_bytes), (Err(text.to_owned()), 60));
        assert_eq!((second.grow_to(40), node.usage().memory_bytes), (Ok(()), 100));
        first.take_over(second, 70);
        assert_eq!((first.bytes, node.usage().memory_bytes), (70, 70));
        drop(first);
        assert_eq!(node.usage().memory_bytes, 0);
    }

    #[test]
    fn the_texts_of_all_topics_are_bounded_together() {
        let node = EntriesNode::new(EntryLimits::default());
        let (mut first, mut second) = (KeptBytes::none(&node), KeptBytes::none(&node));
        let half = usize::try_from(KEPT_BYTES_MAX / 2).expect("it fits");
        assert!(first.set(half) && second.set(half) && !second.set(half + 1));
        assert!(second.set(0) && first.set(2 * half));
        drop((first, second));
        assert_eq!(node.kept.load(Ordering::Relaxed), 0);
    }
}
