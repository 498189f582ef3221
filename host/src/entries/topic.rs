//! The entries of one topic.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bennu_semantics::entries::{EntryChanges, EntryRules, EntrySums, EntryTable, PublishedChange};

use super::node::{EntriesNode, Reservation};

/// The entries of a topic's room. A room has this value if its plugin imports `entries`.
///
/// Only turns of the topic change the entries, and one turn runs at a time. So a call sees the same entries until it is
/// committed. The lock is for code that reads them meanwhile. It is held for one operation, and never across an await. It
/// is taken after the lock of the topic's room.
pub struct TopicEntries {
    node: Arc<EntriesNode>,
    state: Mutex<State>,
}

/// The entries, and the memory that they have reserved.
pub(super) struct State {
    pub(super) table: EntryTable,
    pub(super) sums: EntrySums,
    /// The rules for the route that serves the topic.
    pub(super) rules: Arc<EntryRules>,
    held: Reservation,
}

/// A table with more slots is dropped on a thread that may block: dropping a million slots takes up to 200 ms.
const SLOTS_DROPPED_AT_ONCE: usize = 1000;

impl TopicEntries {
    /// A topic without entries.
    #[must_use]
    pub fn new(node: &Arc<EntriesNode>) -> Arc<Self> {
        let state = State {
            table: EntryTable::complete(),
            sums: EntrySums::default(),
            rules: Arc::clone(node.rules()),
            held: Reservation::none(node),
        };
        Arc::new(Self { node: Arc::clone(node), state: Mutex::new(state) })
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state().sums.entries == 0
    }

    /// Returns the bytes with which `entries_memory_bytes` counts the entries.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.state().sums.weight()
    }

    pub(super) fn rules_and_sums(&self) -> (Arc<EntryRules>, EntrySums) {
        let state = self.state();
        (Arc::clone(&state.rules), state.sums)
    }

    pub(super) fn node(&self) -> &Arc<EntriesNode> {
        &self.node
    }

    /// Applies the changes of a call that is committed. Returns those of published entries.
    pub(super) fn apply(&self, changes: EntryChanges, reserved: Reservation) -> Vec<PublishedChange> {
        let mut state = self.state();
        let State { table, sums, rules, held } = &mut *state;
        *sums = changes.sums();
        let mut published = Vec::new();
        if rules.publishes.is_empty() {
            table.apply(changes, true, |_| {});
        } else {
            table.apply(changes, true, |change| published.extend(rules.published_change(change)));
        }
        held.take_over(reserved, sums.weight());
        published
    }

    // No panic can leave the table half changed: a call changes only its overlay, and `apply` checks nothing any more. So a
    // poisoned lock is used like any other.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TopicEntries {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
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
        f.debug_struct("TopicEntries").field("sums", &self.state().sums).finish_non_exhaustive()
    }
}
