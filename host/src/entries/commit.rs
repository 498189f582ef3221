//! The entries of a durable room in a draft, and what follows from the commit of that draft.

use bennu_semantics::Fault;
use bennu_semantics::entries::{ChangeKind, DirtyEntry, Found, KeyRange, OldEntry};
use bennu_semantics::limits::ENTRY_WEIGHT;

use super::call::PendingEntries;
use super::topic::{State, TopicEntries};
use crate::counts::Limit;
use crate::store::{Draft, Oversize, Revision, StoredSums};

/// A commit of entries that is under way. While it exists, none of the topic's entries is evicted.
pub struct EntryCommit<'a> {
    topic: &'a TopicEntries,
    /// The probation on which it gives the rollback point up.
    given_up: Option<u64>,
    /// Whether the old entries of the changes are in memory.
    pub(super) has_old: bool,
}

impl TopicEntries {
    /// Whether its entries that aren't stored yet have so many bytes that the next commit stores them, whenever the last
    /// one was.
    #[must_use]
    pub fn has_too_many_dirty(&self) -> bool {
        let bytes = self.state().table.bytes().dirty_bytes as u64;
        let is_over = bytes > self.node().cache_limits().dirty_bytes || (bytes > 0 && self.node().has_too_many_dirty());
        if is_over {
            Limit::EntriesDirtyBytes.hit();
        }
        is_over
    }

    /// Whether the entries that aren't stored yet must be stored alone, before a call may change more. That happens only if
    /// the store fails again and again: each failure may add the old entries of a call to them.
    #[must_use]
    pub fn must_store_first(&self) -> bool {
        let bytes = self.state().table.bytes().dirty_bytes as u64;
        let limits = self.node().rules().limits;
        let of_a_call = (limits.write_bytes_per_call + limits.writes_per_call.saturating_mul(ENTRY_WEIGHT)) as u64;
        bytes > self.node().cache_limits().dirty_bytes.saturating_mul(2).saturating_add(of_a_call)
    }

    /// Begins the commit of a call's changes, and of all entries that aren't stored yet. It makes sure that the old entries
    /// are in memory, if they aren't too large. `given_up` is the probation on which the commit gives the rollback point up:
    /// then it writes no entries from before.
    ///
    /// # Errors
    /// Fault: store, if the store can't be read.
    pub async fn begin_commit(
        &self,
        pending: Option<&PendingEntries>,
        given_up: Option<u64>,
    ) -> Result<EntryCommit<'_>, Fault> {
        // First, so that nothing is evicted any more.
        self.state().is_committing = true;
        let changes = pending.into_iter().flat_map(|pending| pending.changes().iter());
        let old_bytes = changes.filter_map(|change| change.old.value_bytes()).sum::<usize>() as u64;
        let has_old = old_bytes <= self.node().cache_limits().cache_bytes;
        let commit = EntryCommit { topic: self, given_up, has_old };
        if commit.has_old {
            let unknown = commit.unknown(pending);
            if !unknown.is_empty() {
                self.load(unknown).await?;
            }
        }
        if commit.needs_sums(pending) {
            self.load_sums().await?;
        }
        Ok(commit)
    }
}

impl EntryCommit<'_> {
    /// The keys of changes whose old entry is neither in the changes nor in the table.
    fn unknown(&self, pending: Option<&PendingEntries>) -> Vec<Box<[u8]>> {
        let state = self.topic.state();
        let changes = pending.into_iter().flat_map(|pending| pending.changes().iter());
        let is_unknown =
            |old: &OldEntry, key: &[u8]| matches!(old, OldEntry::Bytes(_)) && state.table.get(key) == Found::Unknown;
        changes.filter(|change| is_unknown(change.old, change.key)).map(|change| change.key.into()).collect()
    }

    /// Whether entries are written, but their sums aren't known: see [`is_uncertain`](Self::is_uncertain).
    fn needs_sums(&self, pending: Option<&PendingEntries>) -> bool {
        let state = self.topic.state();
        pending.is_none() && state.sums.is_none() && state.table.bytes().dirty_bytes > 0
    }

    /// Writes the entries to a draft: those that aren't stored yet, then the changes, the entries before them, and the sums.
    ///
    /// # Errors
    /// If the topic is too long.
    pub fn write(&self, draft: &mut Draft, pending: Option<&PendingEntries>) -> Result<(), Oversize> {
        let (topic, state) = (self.topic.name().as_str(), self.topic.state());
        for dirty in state.table.dirty() {
            draft.set_entry(topic, dirty)?;
        }
        let mut sums = state.sums;
        if let Some(changes) = pending.map(PendingEntries::changes) {
            sums = Some(changes.sums());
            for change in changes.iter() {
                let new = change.new.filter(|_| change.kind != ChangeKind::Delete);
                let entry = new.map(|value| (changes.version(), value));
                draft.set_entry(topic, DirtyEntry { key: change.key, entry })?;
            }
        }
        if self.given_up.is_none() {
            for (probation, former) in state.rollback.unstored(pending.map(PendingEntries::changes), &state.table) {
                draft.set_entry_former(topic, probation, former)?;
            }
        }
        // Nothing was written in a topic whose sums aren't known.
        let Some(sums) = sums else { return Ok(()) };
        let given_up = self.given_up.unwrap_or_else(|| state.rollback.given_up());
        let stored = StoredSums { sums, given_up, prefixes: state.published };
        if stored != state.stored || !state.has_stored_sums {
            draft.set_entry_sums(topic, &stored)?;
        }
        Ok(())
    }

    /// The store has the draft. The changes of the call are [applied](PendingEntries::apply) after that.
    pub fn is_stored(self, revision: Revision, pending: Option<&PendingEntries>) {
        let mut state = self.topic.locked();
        state.table.mark_stored();
        state.revision = revision;
        let State { table, rollback, .. } = &mut *state;
        match self.given_up {
            Some(probation) => rollback.give_up(probation),
            None => rollback.mark_stored(pending.map(PendingEntries::changes), table),
        }
        let given_up = rollback.given_up();
        let sums = pending.map(|pending| pending.changes().sums()).or(state.sums);
        if let Some(sums) = sums {
            state.stored = StoredSums { sums, given_up, prefixes: state.published };
            state.has_stored_sums = true;
        }
    }

    /// The engine has failed, and nobody knows whether the store has the draft. The old entries count as not stored, so
    /// that the next commit of the topic writes them again. Otherwise a reader could find a value that was never committed.
    ///
    /// If the old entries have more bytes than the cache, they aren't in memory. Then a later read finds them as the store has
    /// them.
    pub fn is_uncertain(self, pending: Option<Box<PendingEntries>>) {
        let mut state = self.topic.locked();
        state.has_stored_sums = false;
        let Some(pending) = pending else { return };
        if self.has_old {
            let unknown = state.table.restore(pending.into_changes());
            debug_assert!(unknown.is_empty(), "nothing was evicted");
            return;
        }
        tracing::error!(
            plugin = self.topic.owner().name(),
            topic = self.topic.name().as_str(),
            "the store failed while it wrote entries, and their old values are too large to be written again"
        );
        for change in pending.changes().iter() {
            state.table.evict_range(&KeyRange::of(change.key));
        }
        state.sums = None;
    }
}

impl Drop for EntryCommit<'_> {
    fn drop(&mut self) {
        self.topic.state().is_committing = false;
    }
}
