//! The memory of all entries of the host.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bennu_semantics::Fault;
use bennu_semantics::entries::EntryRules;
use bennu_semantics::limits::EntryLimits;

/// The entries of all rooms of a host: their rules, and the sum of their bytes.
#[derive(Debug, Default)]
pub struct EntriesNode {
    rules: Arc<EntryRules>,
    /// The bytes of all [`Reservation`]s. Relaxed: no other memory is read by its value.
    reserved: AtomicU64,
    /// The bytes of all [`KeptBytes`]. Relaxed, for the same reason.
    kept: AtomicU64,
}

/// The most bytes of texts and missed changes of published entries that all topics of a host keep. All of it can be made
/// again, or be replaced by a whole state.
const KEPT_BYTES_MAX: u64 = 64 << 20;

impl EntriesNode {
    /// A host with these limits, and without entries.
    #[must_use]
    pub fn new(limits: EntryLimits) -> Arc<Self> {
        let rules = Arc::new(EntryRules { limits, ..EntryRules::default() });
        Arc::new(Self { rules, reserved: AtomicU64::new(0), kept: AtomicU64::new(0) })
    }

    /// Returns the bytes of the entries of all rooms, and of calls that aren't committed yet.
    #[must_use]
    pub fn reserved(&self) -> u64 {
        self.reserved.load(Ordering::Relaxed)
    }

    /// The most bytes of the missed changes of a topic.
    #[must_use]
    pub fn published_missed_bytes(&self) -> usize {
        self.rules.limits.published_missed_bytes
    }

    pub(super) fn rules(&self) -> &Arc<EntryRules> {
        &self.rules
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
        assert_eq!((first.grow_to(60), first.grow_to(50), node.reserved()), (Ok(()), Ok(()), 60));
        let fault = second.grow_to(41).map_err(|fault| fault.to_string());
        let text = "oversize: the entries of all memory rooms would have 101 bytes; at most 100 (`limits.entries_memory_bytes = 100`)";
        assert_eq!((fault, node.reserved()), (Err(text.to_owned()), 60));
        assert_eq!((second.grow_to(40), node.reserved()), (Ok(()), 100));
        first.take_over(second, 70);
        assert_eq!((first.bytes, node.reserved()), (70, 70));
        drop(first);
        assert_eq!(node.reserved(), 0);
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
