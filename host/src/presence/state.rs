//! The set of all entries, as one replica knows it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use bytestring::ByteString;

use super::share::ShareDelta;
use super::view::View;
use super::{Delta, Diffs, PresenceEntry, Replica, Share, ShareEnd, ShareParts};
use crate::protocol::{Payload, Topic};

/// The set as one replica knows it. Operations write to its own share. The shares of others are merged by
/// [`merge`](Self::merge).
///
/// The list of the other replicas isn't a part of the set. Each replica keeps its own list by [`up`](Self::up),
/// [`down`](Self::down) and [`forget`](Self::forget), and ignores shares of replicas that aren't in the list. So a node
/// can't grow the set by inventing replicas. And a node that hasn't heard of a replica's end can't bring a removed
/// replica back.
#[derive(Debug)]
pub struct State {
    own: Replica,
    mine: Share,
    others: BTreeMap<Replica, Other>,
    views: HashMap<Topic, View>,
}

#[derive(Debug)]
struct Other {
    share: Share,
    is_up: bool,
}

/// The result of an operation.
#[derive(Debug, Default)]
pub struct Change {
    /// The changes to send to the members of the topic.
    pub diffs: Diffs,
    /// The writes to send to the other replicas.
    pub delta: Delta,
}

/// Why an operation was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresenceError {
    /// The member already has a presence under this key.
    AlreadyTracked,
    /// The member has no presence under this key.
    NotTracked,
}

impl fmt::Display for PresenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyTracked => write!(f, "this member already has a presence under this key; update it"),
            Self::NotTracked => write!(f, "this member has no presence under this key; track it first"),
        }
    }
}

impl std::error::Error for PresenceError {}

impl State {
    /// Creates an empty set for the replica `own`, which writes to it.
    #[must_use]
    pub fn new(own: Replica) -> Self {
        Self { own, mine: Share::default(), others: BTreeMap::new(), views: HashMap::new() }
    }

    /// Adds an entry: the member is online under `key`, with `meta`, the text of a JSON object.
    ///
    /// # Errors
    /// [`PresenceError::AlreadyTracked`].
    pub fn join(&mut self, topic: &Topic, member: u64, key: &str, meta: &str) -> Result<Change, PresenceError> {
        if self.find(topic, member, key).is_some() {
            return Err(PresenceError::AlreadyTracked);
        }
        let (topic, key, meta) = (topic.clone(), key.into(), meta.into());
        Ok(self.write(&[], |replica, clock| {
            Some(PresenceEntry { replica, clock, before: None, topic, key, member, meta })
        }))
    }

    /// Replaces the meta of an entry. The removal of the old entry and the new entry are in one change.
    ///
    /// # Errors
    /// [`PresenceError::NotTracked`].
    pub fn update(&mut self, topic: &Topic, member: u64, key: &str, meta: &str) -> Result<Change, PresenceError> {
        let old = Arc::clone(self.find(topic, member, key).ok_or(PresenceError::NotTracked)?);
        let (before, topic, key, meta) = (Some(old.clock), old.topic.clone(), Arc::clone(&old.key), meta.into());
        Ok(self
            .write(&[old], |replica, clock| Some(PresenceEntry { replica, clock, before, topic, key, member, meta })))
    }

    /// Removes the entry of a member under one key, if it exists.
    pub fn leave_key(&mut self, topic: &Topic, member: u64, key: &str) -> Change {
        let gone = self.find(topic, member, key).cloned();
        self.take_away(gone.as_slice())
    }

    /// Removes all entries of a member in a topic.
    pub fn leave(&mut self, topic: &Topic, member: u64) -> Change {
        let gone = self.of_member(topic, member).to_vec();
        self.take_away(&gone)
    }

    /// Merges the data that another replica has sent: its last writes, or all that it knows. Deltas may come in any
    /// order and more than once. They may also be lost, if the full state follows at some time. Shares of this replica
    /// are ignored, and so are shares of replicas that are neither up nor down: call [`up`](Self::up) for the sender
    /// first.
    pub fn merge(&mut self, delta: &Delta) -> Diffs {
        let mut diffs = Diffs::new();
        for (replica, share) in &delta.shares {
            let Some(other) = self.others.get_mut(replica) else { continue };
            let changes = other.share.merge(share);
            if other.is_up {
                self.show(&changes, &mut diffs);
            }
        }
        diffs
    }

    /// Marks a replica as up, for the first time or again. Its known entries become visible, with the same refs as
    /// before. If an earlier incarnation of it is known, that one is removed. If a later incarnation is known, nothing
    /// changes.
    pub fn up(&mut self, replica: &Replica) -> Diffs {
        let mut diffs = Diffs::new();
        let is_foreign = replica.shard() == self.own.shard() && !replica.is_same_place(&self.own);
        let same = self.others.keys().find(|other| other.is_same_place(replica)).cloned();
        if !is_foreign || same.as_ref().is_some_and(|same| same.incarnation() > replica.incarnation()) {
            return diffs;
        }
        if let Some(earlier) = same.filter(|same| same != replica) {
            diffs = self.forget(&earlier);
        }
        let other = self.others.entry(replica.clone()).or_insert(Other { share: Share::default(), is_up: false });
        if !std::mem::replace(&mut other.is_up, true) {
            let joins = other.share.entries().cloned().collect();
            self.show(&ShareDelta { joins, leaves: Vec::new() }, &mut diffs);
        }
        diffs
    }

    /// Marks a replica as down. Its entries are kept, but not visible.
    pub fn down(&mut self, replica: &Replica) -> Diffs {
        let mut diffs = Diffs::new();
        if let Some(other) = self.others.get_mut(replica)
            && std::mem::replace(&mut other.is_up, false)
        {
            let leaves = other.share.entries().cloned().collect();
            self.show(&ShareDelta { joins: Vec::new(), leaves }, &mut diffs);
        }
        diffs
    }

    /// Removes a replica that is gone for good, and all its entries. If it comes back, it counts as new, and its full
    /// state is needed.
    pub fn forget(&mut self, replica: &Replica) -> Diffs {
        let diffs = self.down(replica);
        self.others.remove(replica);
        diffs
    }

    /// Returns the clock up to which this replica has written.
    #[must_use]
    pub fn clock(&self) -> u64 {
        self.mine.writes().through()
    }

    /// Whether writes of another replica up to this clock are missing. False if the replica isn't up.
    #[must_use]
    pub fn lacks(&self, replica: &Replica, clock: u64) -> bool {
        self.others.get(replica).is_some_and(|other| other.share.writes().through() < clock)
    }

    /// Returns the share of this replica in parts of about `bytes_max` bytes, for a replica that has missed writes.
    #[must_use]
    pub fn own_parts(&self, bytes_max: usize) -> ShareParts {
        ShareParts::of(&self.own, &self.mine, bytes_max)
    }

    /// Applies the end of the parts of another replica's share. Returns none if a part is missing, or the replica isn't up. Then
    /// nothing has changed.
    pub fn merge_end(&mut self, replica: &Replica, end: &ShareEnd) -> Option<Diffs> {
        let share = end.applied_to(&self.others.get(replica)?.share)?;
        Some(self.merge(&Delta { shares: BTreeMap::from([(replica.clone(), share)]) }))
    }

    /// Returns everything that is known, for a replica that has missed writes.
    #[must_use]
    pub fn full(&self) -> Delta {
        let others = self.others.iter().map(|(replica, other)| (replica.clone(), other.share.clone()));
        Delta { shares: others.chain([(self.own.clone(), self.mine.clone())]).collect() }
    }

    /// Returns the visible entries of a topic, by key.
    pub fn list(&self, topic: &Topic) -> impl Iterator<Item = &Arc<PresenceEntry>> {
        self.views.get(topic).into_iter().flat_map(View::entries)
    }

    /// Returns the entries of a member of this replica in a topic.
    #[must_use]
    pub fn of_member(&self, topic: &Topic, member: u64) -> &[Arc<PresenceEntry>] {
        self.views.get(topic).map_or(&[], |view| view.of_member(member))
    }

    /// Returns the number of keys that are online in a topic.
    #[must_use]
    pub fn count(&self, topic: &Topic) -> usize {
        self.views.get(topic).map_or(0, View::len)
    }

    /// Returns the payload of a `presence_state`. It is encoded at the first request after a change, and kept until the
    /// next change.
    pub fn payload(&mut self, topic: &Topic) -> Payload {
        self.views.get_mut(topic).map_or(Payload::EMPTY, |view| Payload::Json(view.encoded()))
    }

    /// Returns `{"metas":[..]}` of one key, if it is online.
    #[must_use]
    pub fn metas(&self, topic: &Topic, key: &str) -> Option<ByteString> {
        self.views.get(topic)?.metas(key)
    }

    #[cfg(test)]
    pub(super) fn views(&self) -> usize {
        self.views.len()
    }

    fn find(&self, topic: &Topic, member: u64, key: &str) -> Option<&Arc<PresenceEntry>> {
        self.of_member(topic, member).iter().find(|entry| &*entry.key == key)
    }

    fn take_away(&mut self, gone: &[Arc<PresenceEntry>]) -> Change {
        if gone.is_empty() {
            return Change::default();
        }
        self.write(gone, |_, _| None)
    }

    /// Does an operation: merges its delta into the own share. The own clocks have no gaps, because only this replica
    /// writes them.
    fn write(
        &mut self,
        gone: &[Arc<PresenceEntry>],
        come: impl FnOnce(Replica, u64) -> Option<PresenceEntry>,
    ) -> Change {
        let clock = self.mine.writes().through() + 1;
        let written = Share::written(clock, gone, come(self.own.clone(), clock));
        let changes = self.mine.merge(&written);
        let mut diffs = Diffs::new();
        self.show(&changes, &mut diffs);
        Change { diffs, delta: Delta { shares: BTreeMap::from([(self.own.clone(), written)]) } }
    }

    /// Applies a merge's changes to the views, and adds them to `diffs`. Joins come first, so that an update doesn't
    /// empty a topic and remove its view.
    fn show(&mut self, changes: &ShareDelta, diffs: &mut Diffs) {
        for entry in &changes.joins {
            self.views.entry(entry.topic.clone()).or_default().add(entry, entry.replica == self.own);
            diffs.entry(entry.topic.clone()).or_default().join(entry);
        }
        for entry in &changes.leaves {
            if let Some(view) = self.views.get_mut(&entry.topic) {
                view.remove(entry, entry.replica == self.own);
                if view.is_empty() {
                    self.views.remove(&entry.topic);
                }
            }
            diffs.entry(entry.topic.clone()).or_default().leave(entry);
        }
    }
}
