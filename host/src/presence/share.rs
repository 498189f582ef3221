//! The known writes of one replica, and how two such shares are merged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{PresenceEntry, Seen};

/// One replica's share of the set: its entries by clock, all its known clocks, and its known writes.
///
/// Shares are a lattice: a merge is idempotent, commutative and associative, and a delta is a small share. This is the
/// optimized observed-remove set (Bieniusa et al., "An optimized conflict-free replicated set", 2012) with deltas
/// (Almeida et al., "Delta state replicated data types", 2018), for entries that only one replica adds and removes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// The clocks of all entries that are known. One of them that isn't in `entries` was removed.
    seen: Seen,
    /// The clocks of the writes that have arrived. They are among `seen`, which has more: of a removed entry, and of one in a
    /// [part](super::ShareParts), the clock is known, but not which entries its own write has removed.
    writes: Seen,
    entries: BTreeMap<u64, Arc<PresenceEntry>>,
}

/// The changes that a merge has made.
#[derive(Debug, Default)]
pub(super) struct ShareDelta {
    pub(super) joins: Vec<Arc<PresenceEntry>>,
    pub(super) leaves: Vec<Arc<PresenceEntry>>,
}

impl Share {
    /// Creates a share with these known clocks, writes and entries. The clocks of the writes and of the entries count as known,
    /// even if they aren't in `seen`.
    #[must_use]
    pub fn new(mut seen: Seen, writes: Seen, entries: Vec<Arc<PresenceEntry>>) -> Self {
        let entries: BTreeMap<_, _> = entries.into_iter().map(|entry| (entry.clock, entry)).collect();
        seen.absorb(&writes);
        seen.absorb(&Seen::new(0, entries.keys().copied().collect()));
        Self { seen, writes, entries }
    }

    /// Returns the known clocks.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Returns the clocks of the writes that have arrived, with all that they have removed.
    #[must_use]
    pub fn writes(&self) -> &Seen {
        &self.writes
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
    /// A write uses a clock even if it only removes entries. So a replica that has the write also knows the removals,
    /// and the clocks of the writes alone show whether a replica has missed one.
    pub(super) fn written(clock: u64, gone: &[Arc<PresenceEntry>], come: Option<PresenceEntry>) -> Self {
        let gone = Seen::new(0, gone.iter().map(|entry| entry.clock).collect());
        Self::new(gone, Seen::new(0, BTreeSet::from([clock])), come.into_iter().map(Arc::new).collect())
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
        self.writes.absorb(&other.writes);
        ShareDelta { joins, leaves }
    }
}
