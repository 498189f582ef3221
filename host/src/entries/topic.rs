//! The entries of one topic.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bennu_semantics::Topic;
use bennu_semantics::entries::{
    AppliedChange, EntryChanges, EntryRules, EntrySums, EntryTable, KeyRange, Overlay, TableBytes,
};
use bennu_semantics::limits::{EntryLimits, keys};

use super::call::{AppliedEntries, EntryInput};
use super::near_limit::{NearLimit, warn_near};
use super::node::{EntriesNode, Reservation};
use super::rollback::{Rollback, RollbackGivenUp, RollbackState};
use crate::store::{Owner, Revision, Store, StoredSums};

/// The entries of a topic's room. A room has this value if its plugin imports `entries`.
///
/// Only turns of the topic change the entries, and one turn runs at a time. So a call sees the same entries until it is
/// committed. The lock is for the evictor, and for code that reads the entries meanwhile. It is held for one operation, and
/// never across an await. It is taken after the lock of the topic's room.
pub struct TopicEntries {
    node: Arc<EntriesNode>,
    name: Topic,
    owner: Owner,
    /// None for a memory room, which has all entries in its table.
    stored: Option<Stored>,
    state: Mutex<State>,
}

/// The part of a durable room's entries that says where they are stored.
struct Stored {
    store: Store,
    /// The place in the node's list.
    id: u64,
}

/// The entries, and the memory that they have reserved.
pub(super) struct State {
    pub(super) table: EntryTable,
    /// The sums of the last commit. None for a durable room in which nothing was written yet: reads don't need them.
    pub(super) sums: Option<EntrySums>,
    /// The hash of the prefixes with which `sums.published` is counted, or 0.
    pub(super) published: u64,
    /// The stored sums, as far as they are known.
    pub(super) stored: StoredSums,
    /// Whether the store has these sums.
    pub(super) has_stored_sums: bool,
    /// The last commit of this topic's entries. The store's snapshot must contain it.
    pub(super) revision: Revision,
    /// Whether a draft with entries is being committed. Until it is, nothing is evicted: if the commit fails, the old
    /// entries are needed.
    pub(super) is_committing: bool,
    /// The rules of the last call. Most calls have the same.
    pub(super) rules: Arc<EntryRules>,
    pub(super) rollback: Rollback,
    /// Whether the limits of the topic are nearly reached, in the order of [`State::sizes`].
    near_limits: [NearLimit; 3],
    held: Reservation,
    /// The size with which the node counts the table.
    counted: TableBytes,
}

/// The sizes of a topic's entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntriesSize {
    /// The sums of all entries. None for a durable room in which nothing was written since it was opened.
    pub sums: Option<EntrySums>,
    /// The bytes of the entries that aren't stored yet, with 64 for each.
    pub dirty_bytes: u64,
    /// Whether the room and the entries can be rolled back. None without a rollback point.
    pub rollback: Option<RollbackState>,
}

/// A table with more slots is dropped on a thread that may block: dropping a million slots takes up to 200 ms.
const SLOTS_DROPPED_AT_ONCE: usize = 1000;

impl TopicEntries {
    /// A memory room of a plugin, without entries.
    #[must_use]
    pub fn in_memory(node: &Arc<EntriesNode>, owner: &Owner, name: &Topic) -> Arc<Self> {
        let state = State::new(node, EntryTable::complete(), Some(EntrySums::default()));
        Arc::new(Self {
            node: Arc::clone(node),
            name: name.clone(),
            owner: owner.clone(),
            stored: None,
            state: Mutex::new(state),
        })
    }

    /// A durable room of a plugin. Nothing is read yet.
    #[must_use]
    pub fn durable(node: &Arc<EntriesNode>, owner: &Owner, name: &Topic, store: &Store) -> Arc<Self> {
        let state = State::new(node, EntryTable::cache(), None);
        Arc::new_cyclic(|own| Self {
            node: Arc::clone(node),
            name: name.clone(),
            owner: owner.clone(),
            stored: Some(Stored { store: store.clone(), id: node.add(own) }),
            state: Mutex::new(state),
        })
    }

    /// Whether it belongs to a durable room.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.stored.is_some()
    }

    /// Whether a callback has written an entry, as far as it is known without a read of the store.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let state = self.state();
        state.sums.map_or(state.table.bytes().slots == 0, |sums| sums.entries == 0)
    }

    /// Returns the bytes of its memory: keys, values, and 64 for each entry.
    #[must_use]
    pub fn weight(&self) -> u64 {
        let state = self.state();
        let bytes = state.table.bytes();
        (bytes.clean_bytes + bytes.dirty_bytes) as u64
    }

    /// Returns its sizes.
    #[must_use]
    pub fn size(&self) -> EntriesSize {
        let state = self.state();
        EntriesSize {
            sums: state.sums,
            dirty_bytes: state.table.bytes().dirty_bytes as u64,
            rollback: state.rollback.state(),
        }
    }

    pub(super) fn node(&self) -> &Arc<EntriesNode> {
        &self.node
    }

    pub(super) fn name(&self) -> &Topic {
        &self.name
    }

    pub(super) fn owner(&self) -> &Owner {
        &self.owner
    }

    pub(super) fn store(&self) -> Option<&Store> {
        self.stored.as_ref().map(|stored| &stored.store)
    }

    /// Begins a call.
    pub(super) fn overlay(&self, input: &EntryInput, has_upgrade: bool) -> Overlay {
        let mut state = self.state();
        // A memory room has all old entries in its table until they are replaced.
        let keeps_old = input.keeps_old && self.is_durable();
        let old_bytes = if keeps_old { self.node.rules().limits.rollback_bytes } else { 0 };
        let old_bytes = usize::try_from(old_bytes).unwrap_or(usize::MAX);
        let (rules, version) = (&state.rules, input.version);
        if (rules.version, rules.has_upgrade, rules.old_bytes) != (version, has_upgrade, old_bytes) {
            state.rules = Arc::new(EntryRules { version, has_upgrade, old_bytes, ..(**rules).clone() });
        }
        let rules = Arc::clone(&state.rules);
        match state.rollback.journal().filter(|_| input.is_before) {
            Some(journal) => Overlay::at_rollback_point(rules, Arc::clone(journal)),
            None => Overlay::new(rules, state.sums),
        }
    }

    /// Applies the changes of a call that is committed. `is_stored` says whether the store has them. `probation` is the one
    /// whose rollback would discard them, if there is one: the entries before them are kept.
    pub(super) fn apply(
        &self,
        changes: EntryChanges,
        reserved: Reservation,
        is_stored: bool,
        probation: Option<u64>,
    ) -> AppliedEntries {
        let mut state = self.locked();
        let State { table, rollback, sums: before, rules, .. } = &mut *state;
        let given_up = rollback.prepare(probation, &changes, (table, before.unwrap_or_default()), &self.node).err();
        if let Some(RollbackGivenUp { probation, .. }) = given_up {
            rollback.give_up(probation);
        }
        let sums = changes.sums();
        *before = Some(sums);
        let mut published = Vec::new();
        let publishes = !rules.publishes.is_empty();
        let mut publish = |rules: &EntryRules, change: &AppliedChange<'_>| {
            if publishes {
                published.extend(rules.published_change(change));
            }
        };
        if self.is_durable() && self.node.is_full() && is_stored {
            state.apply_and_evict(changes, publish);
        } else {
            table.apply(changes, is_stored, |change| {
                publish(rules, &change);
                rollback.note(change, self.is_durable());
            });
        }
        if !self.is_durable() {
            state.held.take_over(reserved, sums.weight());
        }
        if state.published == 0 && state.stored.prefixes != 0 {
            // These changes were not counted as published.
            (state.stored.prefixes, state.has_stored_sums) = (0, false);
        }
        let sizes = state.sizes(&self.node.rules().limits);
        let are_near = [0, 1, 2].map(|at| state.near_limits[at].rises_near(sizes[at].1, sizes[at].2));
        drop(state);
        for ((limit, bytes, most), _) in sizes.into_iter().zip(are_near).filter(|(_, is_near)| *is_near) {
            warn_near(self, limit, bytes, most);
        }
        if !self.is_durable() {
            self.node.check_memory(self);
        }
        AppliedEntries { published, given_up }
    }

    /// Locks the entries to change them. When the lock is released, the node counts their size.
    pub(super) fn locked(&self) -> Locked<'_> {
        let mut state = self.state();
        if self.is_durable() {
            state.table.set_now(self.node.now());
        }
        Locked { topic: self, state }
    }

    // No panic can leave the table half changed: a call changes only its overlay, and `apply` checks nothing any more. So a
    // poisoned lock is used like any other.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The locked entries of a topic.
pub(super) struct Locked<'a> {
    topic: &'a TopicEntries,
    state: MutexGuard<'a, State>,
}

impl State {
    fn new(node: &Arc<EntriesNode>, table: EntryTable, sums: Option<EntrySums>) -> Self {
        Self {
            table,
            sums,
            published: 0,
            stored: StoredSums::default(),
            has_stored_sums: false,
            revision: Revision::default(),
            is_committing: false,
            rules: Arc::clone(node.rules()),
            rollback: Rollback::None,
            near_limits: Default::default(),
            held: Reservation::none(node),
            counted: TableBytes::default(),
        }
    }

    /// Reserves this memory for a memory room, without a check of the limit: nothing may prevent a rollback.
    pub(super) fn hold(&mut self, bytes: u64) {
        self.held.set(bytes);
    }

    /// The limits of the topic: the key, the bytes, and the most bytes.
    fn sizes(&self, limits: &EntryLimits) -> [(&'static str, u64, u64); 3] {
        let sums = self.sums.unwrap_or_default();
        let journal = self.rollback.journal().map_or(0, |journal| journal.weight());
        [
            (keys::ENTRIES_BYTES_PER_TOPIC, sums.bytes, limits.bytes_per_topic),
            (keys::PUBLISHED_BYTES, sums.published, limits.published_bytes),
            (keys::ENTRIES_ROLLBACK_BYTES, journal, limits.rollback_bytes),
        ]
    }

    /// Applies changes that the store has, and doesn't keep them, because the cache is full.
    fn apply_and_evict(&mut self, changes: EntryChanges, mut publish: impl FnMut(&EntryRules, &AppliedChange<'_>)) {
        let keys: Vec<_> = changes.iter().map(|change| Box::<[u8]>::from(change.key)).collect();
        // The entries before them were noted when they were stored.
        self.table.apply(changes, true, |change| publish(&self.rules, &change));
        for key in keys {
            self.table.evict_range(&KeyRange::of(&key));
        }
    }
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if !self.topic.is_durable() {
            return;
        }
        let bytes = self.state.table.bytes();
        let counted = std::mem::replace(&mut self.state.counted, bytes);
        if bytes != counted {
            self.topic.node.count(counted, bytes);
        }
    }
}

impl Drop for TopicEntries {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(stored) = &self.stored {
            self.node.remove(stored.id);
            self.node.count(state.counted, TableBytes::default());
        }
        if state.table.bytes().slots <= SLOTS_DROPPED_AT_ONCE {
            return;
        }
        // A test may drop a room outside of a runtime.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let held = std::mem::replace(&mut state.held, Reservation::none(&self.node));
            let table = std::mem::replace(&mut state.table, EntryTable::complete());
            // In this order, so that the memory is counted until it is free.
            runtime.spawn_blocking(move || {
                drop(table);
                drop(held);
            });
        }
    }
}

impl fmt::Debug for TopicEntries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (topic, sums) = (self.name.as_str(), self.state().sums);
        f.debug_struct("TopicEntries").field("topic", &topic).field("sums", &sums).finish_non_exhaustive()
    }
}
