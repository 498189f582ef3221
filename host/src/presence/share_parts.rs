//! A whole share in parts, for a node that has missed writes.
//!
//! A share may be larger than a message between nodes. Each part has some entries and the clocks of these entries, so parts
//! may be merged one by one, and in any order. They say nothing about removed entries. The end says it: the clock up to which
//! writes are known, and the clocks of the entries that are left. If one of these entries didn't arrive, the end is not applied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Delta, PresenceEntry, Replica, Seen, Share};

/// The parts of a share, and their end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareParts {
    /// The parts.
    pub parts: Vec<Delta>,
    /// The end.
    pub end: ShareEnd,
}

/// What follows the parts of a share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareEnd {
    /// The writes up to this clock are in the parts, or were removed.
    pub through: u64,
    /// The clocks of all entries that are left, in their order.
    pub kept: Vec<u64>,
}

impl ShareParts {
    /// Divides a share into parts whose entries weigh about `bytes_max`, at least one entry each.
    pub(super) fn of(replica: &Replica, share: &Share, bytes_max: usize) -> Self {
        let (mut parts, mut part, mut bytes) = (Vec::new(), Vec::<Arc<PresenceEntry>>::new(), 0);
        let delta = |entries: Vec<_>| Delta {
            shares: BTreeMap::from([(replica.clone(), Share::new(Seen::default(), Seen::default(), entries))]),
        };
        for entry in share.entries() {
            let more = entry.weight() + entry.topic.as_str().len();
            if !part.is_empty() && bytes + more > bytes_max {
                parts.push(delta(std::mem::take(&mut part)));
                bytes = 0;
            }
            bytes += more;
            part.push(Arc::clone(entry));
        }
        if !part.is_empty() {
            parts.push(delta(part));
        }
        let kept = share.entries().map(|entry| entry.clock).collect();
        Self { parts, end: ShareEnd { through: share.writes().through(), kept } }
    }
}

impl ShareEnd {
    /// The share that has exactly the entries that are left, as far as the writes up to [`through`](Self::through) are concerned.
    /// None if `share` lacks one of them.
    pub(super) fn applied_to(&self, share: &Share) -> Option<Share> {
        let mut entries = Vec::with_capacity(self.kept.len());
        for clock in &self.kept {
            match share.entry(*clock) {
                Some(entry) => entries.push(Arc::clone(entry)),
                // A later write has removed it, and arrived before.
                None if share.seen().contains(*clock) => {}
                None => return None,
            }
        }
        Some(Share::new(Seen::default(), Seen::new(self.through, BTreeSet::new()), entries))
    }
}
