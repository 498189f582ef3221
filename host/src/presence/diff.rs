//! What has changed in a topic, as its members are told.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::entry::write_presences;
use super::{PresenceEntry, Replica};
use crate::protocol::{Payload, Topic};

/// Who came and who left. A reader takes the joins first, then the leaves, as phoenix.js does: one who is among both has
/// left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    joins: BTreeMap<Place, Arc<PresenceEntry>>,
    leaves: BTreeMap<Place, Arc<PresenceEntry>>,
    bytes: usize,
}

/// The diff of each topic in which something has changed.
pub type Diffs = BTreeMap<Topic, Diff>;

/// Entries of a key stand side by side, in the order in which they were written.
type Place = (Arc<str>, u64, Replica);

impl Diff {
    /// Adds one who came. Who left before has come back, under the same ref (its replica was down and is up again): a
    /// client that has the entry keeps it, and one that was sent a state without it gets it.
    pub fn join(&mut self, entry: &Arc<PresenceEntry>) {
        let place = place(entry);
        if self.leaves.remove(&place).is_some() {
            self.bytes -= entry.weight();
        }
        if self.joins.insert(place, Arc::clone(entry)).is_none() {
            self.bytes += entry.weight();
        }
    }

    /// Adds one who left. Who came before stays among the joins: the client that was sent the state between a join and its
    /// leave needs the leave, and the one that wasn't gets to know of both.
    pub fn leave(&mut self, entry: &Arc<PresenceEntry>) {
        if self.leaves.insert(place(entry), Arc::clone(entry)).is_none() {
            self.bytes += entry.weight();
        }
    }

    /// Adds what happened after it, so that both become one.
    pub fn then(&mut self, later: &Self) {
        later.joins.values().for_each(|entry| self.join(entry));
        later.leaves.values().for_each(|entry| self.leave(entry));
    }

    /// Those who came, by key.
    pub fn joins(&self) -> impl Iterator<Item = &Arc<PresenceEntry>> {
        self.joins.values()
    }

    /// Those who left, by key.
    pub fn leaves(&self) -> impl Iterator<Item = &Arc<PresenceEntry>> {
        self.leaves.values()
    }

    /// Whether nothing has changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.joins.is_empty() && self.leaves.is_empty()
    }

    /// Bytes that it takes, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The payload of a `presence_diff`.
    #[must_use]
    pub fn payload(&self) -> Payload {
        let mut text = String::with_capacity(self.bytes);
        text.push_str("{\"joins\":");
        write_presences(&mut text, self.joins());
        text.push_str(",\"leaves\":");
        write_presences(&mut text, self.leaves());
        text.push('}');
        Payload::Json(text.into())
    }
}

fn place(entry: &PresenceEntry) -> Place {
    (Arc::clone(&entry.key), entry.clock, entry.replica.clone())
}
