//! The changes of a topic's presences, in the form that its members get.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::entry::write_presences;
use super::{PresenceEntry, Replica};
use crate::protocol::{Payload, Topic};

/// The entries that joined and the entries that left. A reader applies the joins first, then the leaves, as phoenix.js
/// does. So an entry that is in both has left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    joins: BTreeMap<Place, Arc<PresenceEntry>>,
    leaves: BTreeMap<Place, Arc<PresenceEntry>>,
    bytes: usize,
}

/// The diff of each topic that has changed.
pub type Diffs = BTreeMap<Topic, Diff>;

/// The sort key of an entry: the entries of one presence key are adjacent, in the order in which they were written.
type Place = (Arc<str>, u64, Replica);

impl Diff {
    /// Adds an entry that has joined. If the diff already contains the entry as a leave, the join replaces the leave:
    /// the entry's replica was down and is up again. A client that has the entry keeps it, and a client that was sent a
    /// state without it gets it.
    pub fn join(&mut self, entry: &Arc<PresenceEntry>) {
        let place = place(entry);
        if self.leaves.remove(&place).is_some() {
            self.bytes -= entry.weight();
        }
        if self.joins.insert(place, Arc::clone(entry)).is_none() {
            self.bytes += entry.weight();
        }
    }

    /// Adds an entry that has left. If the diff already contains the entry as a join, the join stays. A client that was
    /// sent the state between the two needs the leave, and any other client gets both.
    pub fn leave(&mut self, entry: &Arc<PresenceEntry>) {
        if self.leaves.insert(place(entry), Arc::clone(entry)).is_none() {
            self.bytes += entry.weight();
        }
    }

    /// Merges a later diff into this one.
    pub fn then(&mut self, later: &Self) {
        later.joins.values().for_each(|entry| self.join(entry));
        later.leaves.values().for_each(|entry| self.leave(entry));
    }

    /// Returns the entries that joined, by key.
    pub fn joins(&self) -> impl Iterator<Item = &Arc<PresenceEntry>> {
        self.joins.values()
    }

    /// Returns the entries that left, by key.
    pub fn leaves(&self) -> impl Iterator<Item = &Arc<PresenceEntry>> {
        self.leaves.values()
    }

    /// Whether it contains no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.joins.is_empty() && self.leaves.is_empty()
    }

    /// Returns its approximate size in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the payload of a `presence_diff`: `{"joins":{..},"leaves":{..}}`.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(clock: u64) -> Arc<PresenceEntry> {
        let (replica, topic) = (Replica::new("a", 0, 1), Topic::new("room:a"));
        Arc::new(PresenceEntry { replica, clock, before: None, topic, key: "k".into(), member: 1, meta: "{}".into() })
    }

    fn join(clock: u64) -> Diff {
        let mut diff = Diff::default();
        diff.join(&entry(clock));
        diff
    }

    fn leave(clock: u64) -> Diff {
        let mut diff = Diff::default();
        diff.leave(&entry(clock));
        diff
    }

    fn clocks(diff: &Diff) -> (Vec<u64>, Vec<u64>) {
        (diff.joins().map(|entry| entry.clock).collect(), diff.leaves().map(|entry| entry.clock).collect())
    }

    #[test]
    fn an_entry_that_left_and_joined_again_under_its_ref_is_online() {
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
}
