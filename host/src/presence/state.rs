//! The set of all entries, as one replica knows it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use bytestring::ByteString;

use super::share::ShareDelta;
use super::view::View;
use super::{Delta, Diffs, PresenceEntry, Replica, Share};
use crate::protocol::{Payload, Topic};

/// A replica's knowledge. Operations write to its own share; others' shares come by [`merge`](Self::merge).
///
/// Which other replicas there are isn't a part of the set: each replica decides it for itself, by [`up`](Self::up),
/// [`down`](Self::down) and [`forget`](Self::forget), and what it hears about one that isn't up or down it ignores. So
/// nobody grows it by inventing replicas, and nobody brings a forgotten one back by not having heard of its end.
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

/// What an operation has done.
#[derive(Debug, Default)]
pub struct Change {
    /// What the members of the topic are to be told.
    pub diffs: Diffs,
    /// What the other replicas are to be told.
    pub delta: Delta,
}

/// Why an operation wasn't done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresenceError {
    /// The member has a presence under this key already.
    AlreadyTracked,
    /// The member has none.
    NotTracked,
}

impl fmt::Display for PresenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyTracked => write!(f, "this member has a presence under this key already; update it"),
            Self::NotTracked => write!(f, "this member has no presence under this key; track it first"),
        }
    }
}

impl std::error::Error for PresenceError {}

impl State {
    /// The empty set, for the replica that will write to it.
    #[must_use]
    pub fn new(own: Replica) -> Self {
        Self { own, mine: Share::default(), others: BTreeMap::new(), views: HashMap::new() }
    }

    /// Adds an entry: the member is online under `key`, with `meta`, the text of a JSON object.
    ///
    /// # Errors
    /// [`Refusal::AlreadyTracked`].
    pub fn join(&mut self, topic: &Topic, member: u64, key: &str, meta: &str) -> Result<Change, PresenceError> {
        if self.find(topic, member, key).is_some() {
            return Err(PresenceError::AlreadyTracked);
        }
        let (topic, key, meta) = (topic.clone(), key.into(), meta.into());
        Ok(self.write(&[], |replica, clock| {
            Some(PresenceEntry { replica, clock, before: None, topic, key, member, meta })
        }))
    }

    /// Puts another meta in place of an entry's, in one step that nobody sees half of.
    ///
    /// # Errors
    /// [`Refusal::NotTracked`].
    pub fn update(&mut self, topic: &Topic, member: u64, key: &str, meta: &str) -> Result<Change, PresenceError> {
        let old = Arc::clone(self.find(topic, member, key).ok_or(PresenceError::NotTracked)?);
        let (before, topic, key, meta) = (Some(old.clock), old.topic.clone(), Arc::clone(&old.key), meta.into());
        Ok(self
            .write(&[old], |replica, clock| Some(PresenceEntry { replica, clock, before, topic, key, member, meta })))
    }

    /// Takes one entry of a member away, if it is there.
    pub fn leave_key(&mut self, topic: &Topic, member: u64, key: &str) -> Change {
        let gone = self.find(topic, member, key).cloned();
        self.take_away(gone.as_slice())
    }

    /// Takes all entries of a member in a topic away.
    pub fn leave(&mut self, topic: &Topic, member: u64) -> Change {
        let gone = self.of_member(topic, member).to_vec();
        self.take_away(&gone)
    }

    /// Takes in what another replica has sent: its last writes, or all that it knows. The order doesn't matter, nor what
    /// was lost, if the full state follows some time, nor what comes twice. Nothing is learnt of the own replica, which
    /// knows best, nor of replicas that are neither up nor down: the sender must be up before.
    pub fn merge(&mut self, delta: &Delta) -> Diffs {
        let mut diffs = Diffs::new();
        for (replica, share) in &delta.shares {
            let Some(other) = self.others.get_mut(replica) else { continue };
            let step = other.share.merge(share);
            if other.is_up {
                self.show(&step, &mut diffs);
            }
        }
        diffs
    }

    /// A replica is there, for the first time or again: what is known of it is seen, under the same refs as before. An
    /// earlier incarnation of it is forgotten, and a later one stays.
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

    /// A replica is silent: what it wrote is kept, but not seen.
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

    /// A replica is gone for good, with all that is known of it. Should it come back all the same, it is as new, and its
    /// full state is needed.
    pub fn forget(&mut self, replica: &Replica) -> Diffs {
        let diffs = self.down(replica);
        self.others.remove(replica);
        diffs
    }

    /// All that is known, for a replica that has missed something.
    #[must_use]
    pub fn full(&self) -> Delta {
        let others = self.others.iter().map(|(replica, other)| (replica.clone(), other.share.clone()));
        Delta { shares: others.chain([(self.own.clone(), self.mine.clone())]).collect() }
    }

    /// The entries of a topic that are seen, by key.
    pub fn list(&self, topic: &Topic) -> impl Iterator<Item = &Arc<PresenceEntry>> {
        self.views.get(topic).into_iter().flat_map(View::entries)
    }

    /// What a member of this replica has in a topic.
    #[must_use]
    pub fn of_member(&self, topic: &Topic, member: u64) -> &[Arc<PresenceEntry>] {
        self.views.get(topic).map_or(&[], |view| view.of_member(member))
    }

    /// How many keys are online in a topic.
    #[must_use]
    pub fn count(&self, topic: &Topic) -> usize {
        self.views.get(topic).map_or(0, View::len)
    }

    /// The payload of a `presence_state`. It is encoded when somebody asks, once for all until the next change.
    pub fn payload(&mut self, topic: &Topic) -> Payload {
        self.views.get_mut(topic).map_or(Payload::EMPTY, |view| Payload::Json(view.encoded()))
    }

    /// `{"metas":[..]}` of one key, if it is online.
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

    /// An operation is the merge of its own delta. The own clocks have no gaps: nobody else writes them.
    fn write(
        &mut self,
        gone: &[Arc<PresenceEntry>],
        come: impl FnOnce(Replica, u64) -> Option<PresenceEntry>,
    ) -> Change {
        let clock = self.mine.seen().through() + 1;
        let written = Share::written(clock, gone, come(self.own.clone(), clock));
        let step = self.mine.merge(&written);
        let mut diffs = Diffs::new();
        self.show(&step, &mut diffs);
        Change { diffs, delta: Delta { shares: BTreeMap::from([(self.own.clone(), written)]) } }
    }

    /// Has what changed seen. What is added comes first, so that an update never empties a topic.
    fn show(&mut self, step: &ShareDelta, diffs: &mut Diffs) {
        for entry in &step.joins {
            self.views.entry(entry.topic.clone()).or_default().add(entry, entry.replica == self.own);
            diffs.entry(entry.topic.clone()).or_default().join(entry);
        }
        for entry in &step.leaves {
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
