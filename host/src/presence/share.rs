//! The known writes of one replica, and how two such shares are merged.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{PresenceEntry, Seen};

/// One replica's share of the set: its entries by clock, and all its known clocks.
///
/// Shares are a lattice: a merge is idempotent, commutative and associative, and a delta is a small share. This is the
/// optimized observed-remove set (Bieniusa et al., "An optimized conflict-free replicated set", 2012) with deltas
/// (Almeida et al., "Delta state replicated data types", 2018), for entries that only one replica adds and removes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    seen: Seen,
    entries: BTreeMap<u64, Arc<PresenceEntry>>,
}

/// The changes that a merge has made.
#[derive(Debug, Default)]
pub(super) struct ShareDelta {
    pub(super) joins: Vec<Arc<PresenceEntry>>,
    pub(super) leaves: Vec<Arc<PresenceEntry>>,
}

impl Share {
    /// Creates a share with these clocks and entries. The clock of each entry counts as known, even if it isn't in
    /// `seen`.
    #[must_use]
    pub fn new(mut seen: Seen, entries: Vec<Arc<PresenceEntry>>) -> Self {
        let entries: BTreeMap<_, _> = entries.into_iter().map(|entry| (entry.clock, entry)).collect();
        seen.absorb(&Seen::new(0, entries.keys().copied().collect()));
        Self { seen, entries }
    }

    /// Returns the known clocks.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Returns the entries, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<PresenceEntry>> {
        self.entries.values()
    }

    /// Returns the entry with this clock.
    pub(super) fn entry(&self, clock: u64) -> Option<&Arc<PresenceEntry>> {
        self.entries.get(&clock)
    }

    /// Returns the share of one write at `clock`, which removes the entries `gone` and adds the entry `come`.
    ///
    /// A write uses a clock even if it only removes entries. So a replica that knows the clock also knows the removals,
    /// and clocks alone show whether a replica has missed a write.
    pub(super) fn written(clock: u64, gone: &[Arc<PresenceEntry>], come: Option<PresenceEntry>) -> Self {
        let clocks = gone.iter().map(|entry| entry.clock).chain([clock]);
        Self::new(Seen::new(0, clocks.collect()), come.into_iter().map(Arc::new).collect())
    }

    /// Merges another share into this one. An entry stays if both shares have it, or if one has it and the other
    /// doesn't know its clock. So a removal affects only the entries that it has seen, and an entry that was added
    /// concurrently stays.
    pub(super) fn merge(&mut self, other: &Self) -> ShareDelta {
        let old = self.entries.range(..=other.seen.through()).map(|(_, entry)| entry);
        let single = other.seen.beyond().iter().filter_map(|clock| self.entries.get(clock));
        let is_gone = |entry: &&Arc<PresenceEntry>| !other.entries.contains_key(&entry.clock);
        let leaves: Vec<_> = old.chain(single).filter(is_gone).cloned().collect();
        let joins: Vec<_> = other.entries().filter(|entry| !self.seen.contains(entry.clock)).cloned().collect();
        for entry in &leaves {
            self.entries.remove(&entry.clock);
        }
        self.entries.extend(joins.iter().map(|entry| (entry.clock, Arc::clone(entry))));
        self.seen.absorb(&other.seen);
        ShareDelta { joins, leaves }
    }
}
