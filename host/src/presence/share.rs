//! What is known of one replica's writing, and how two such knowledges become one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{PresenceEntry, Seen};

/// One replica's share of the set: its entries by clock, and all its clocks that are known.
///
/// Shares are a lattice: merging is idempotent, commutative and associative, and a delta is but a small share. It is the
/// optimized observed-remove set (Bieniusa et al., "An optimized conflict-free replicated set", 2012) with deltas (Almeida
/// et al., "Delta state replicated data types", 2018), for entries that one replica alone adds and takes away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    seen: Seen,
    entries: BTreeMap<u64, Arc<PresenceEntry>>,
}

/// What a merge has changed.
#[derive(Debug, Default)]
pub(super) struct ShareDelta {
    pub(super) joins: Vec<Arc<PresenceEntry>>,
    pub(super) leaves: Vec<Arc<PresenceEntry>>,
}

impl Share {
    /// A share of these clocks and entries. An entry whose clock isn't among them counts as known all the same.
    #[must_use]
    pub fn new(mut seen: Seen, entries: Vec<Arc<PresenceEntry>>) -> Self {
        let entries: BTreeMap<_, _> = entries.into_iter().map(|entry| (entry.clock, entry)).collect();
        seen.absorb(&Seen::new(0, entries.keys().copied().collect()));
        Self { seen, entries }
    }

    /// Which clocks are known.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// The entries, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<PresenceEntry>> {
        self.entries.values()
    }

    /// One write at `clock`: the entries that it takes away, and the one that it adds.
    ///
    /// It takes up a clock even if it only takes away. So whoever knows the clock knows what went with it, and clocks alone
    /// tell whether a replica has missed something.
    pub(super) fn written(clock: u64, gone: &[Arc<PresenceEntry>], come: Option<PresenceEntry>) -> Self {
        let clocks = gone.iter().map(|entry| entry.clock).chain([clock]);
        Self::new(Seen::new(0, clocks.collect()), come.into_iter().map(Arc::new).collect())
    }

    /// Takes in what another one knows. An entry stays if both have it, or if one has it and the other has never heard of
    /// it: so a removal takes away only what it saw, and whatever is added beside it wins.
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
