//! Reads of the store for the entries of a durable room.

use bennu_semantics::entries::{EntryTable, KeyRange, Overlay, Packed, Progress, RangeRead, StoreRead, StoredEntry};
use bennu_semantics::limits::ENTRY_BYTES_AT_ONCE_MAX;
use bennu_semantics::{Fault, FaultKind};

use super::topic::{State, TopicEntries};
use crate::store::{EngineError, EntryRows, StoredSums};

/// The result of a read of the store.
enum Answer {
    /// The entries of keys.
    Keys(Vec<(Box<[u8]>, Option<StoredEntry>)>),
    /// The entries of a range, and whether these are all.
    Range(RangeRead, Vec<StoredEntry>, bool),
    /// The sums of the topic, and whether they are stored.
    Sums(StoredSums, bool),
}

/// The most keys that are read at once.
const KEYS_AT_ONCE: usize = 64;

impl TopicEntries {
    /// Runs an operation of a call. If the operation needs entries that aren't in memory, reads them from the store, and
    /// runs the operation again, which continues where it stopped.
    ///
    /// The table gets the entries and the operation runs under one lock. So whatever is evicted meanwhile, the operation
    /// gets further with each read.
    ///
    /// # Errors
    /// Those of the operation. Fault: store, if the store can't be read.
    pub(super) async fn run<T>(
        &self,
        overlay: &mut Overlay,
        mut operation: impl FnMut(&mut Overlay, &EntryTable) -> Result<Progress<T>, Fault>,
    ) -> Result<T, Fault> {
        let mut progress = operation(overlay, &self.locked().table)?;
        loop {
            match progress {
                Progress::Done(result) => return Ok(result),
                Progress::Read(read) => {
                    let answer = self.read(read).await?;
                    progress = self.run_with(answer, overlay, &mut operation)?;
                }
                Progress::Upgrade(keys) => {
                    // This is the end of the call, and no fault of the plugin: the call runs again.
                    overlay.need_upgrade(keys);
                    return Err(Fault::of_host("entries have to be upgraded"));
                }
            }
        }
    }

    /// Adds the result of a read, and runs the operation again.
    fn run_with<T>(
        &self,
        answer: Answer,
        overlay: &mut Overlay,
        operation: &mut impl FnMut(&mut Overlay, &EntryTable) -> Result<Progress<T>, Fault>,
    ) -> Result<Progress<T>, Fault> {
        let mut state = self.locked();
        let is_kept = !self.node().is_full();
        let (filled, loaded) = state.fill(answer, overlay);
        self.node().count_loaded(loaded);
        let progress = operation(overlay, &state.table);
        if !is_kept {
            for range in &filled {
                let evicted = state.table.evict_range(range);
                self.node().count_evicted(evicted.slots);
            }
        }
        progress
    }

    async fn read(&self, read: StoreRead) -> Result<Answer, Fault> {
        let store = self.store().ok_or_else(|| Fault::of_host("entries in memory need the store"))?;
        let since = self.state().revision;
        let rows = store.entry_rows(self.owner(), self.name().as_str(), since);
        let answer = async {
            let rows = rows?;
            match read {
                StoreRead::Keys(keys) => Answer::of_keys(&rows, keys).await,
                StoreRead::Range(read) => Answer::of_range(&rows, read).await,
                StoreRead::Sums => self.read_sums(&rows).await,
            }
        };
        answer.await.map_err(|error| Fault::new(FaultKind::Store, format!("the store can't be read: {error}")))
    }

    /// Reads the stored sums. If there are none, counts the entries. That is cheap, because a topic without sums usually has
    /// no entries.
    async fn read_sums(&self, rows: &EntryRows<'_>) -> Result<Answer, EngineError> {
        let stored = rows.sums().await?;
        let dirty: Vec<_> = {
            let state = self.state();
            let sizes = state.table.dirty().map(|dirty| (dirty.key.into(), dirty.entry.map(|(_, value)| value.len())));
            sizes.collect::<Vec<(Box<[u8]>, Option<usize>)>>()
        };
        if dirty.is_empty()
            && let Some(stored) = stored
        {
            return Ok(Answer::Sums(stored, true));
        }
        // Entries aren't stored although the sums aren't known: this is after a failed commit of large entries.
        let mut sums = rows.count().await?;
        for (key, size) in dirty {
            if let Some(stored) = rows.get(&key).await? {
                sums.remove(&key, stored.bytes() - key.len(), false);
            }
            size.into_iter().for_each(|bytes| sums.add(&key, bytes, false));
        }
        Ok(Answer::Sums(StoredSums { sums, ..stored.unwrap_or_default() }, false))
    }

    /// Reads the sums, if they aren't known.
    ///
    /// # Errors
    /// Fault: store, if the store can't be read.
    pub(super) async fn load_sums(&self) -> Result<(), Fault> {
        if self.state().sums.is_none()
            && let Answer::Sums(stored, is_row) = self.read(StoreRead::Sums).await?
        {
            self.locked().set_sums(stored, is_row);
        }
        Ok(())
    }

    /// Reads the entries from before the rollback point of this probation.
    ///
    /// # Errors
    /// Fault: store, if the store can't be read.
    pub(super) async fn read_formers(
        &self,
        probation: u64,
        mut each: impl FnMut(Packed, Option<u32>),
    ) -> Result<(), Fault> {
        let Some(store) = self.store() else { return Ok(()) };
        let since = self.state().revision;
        let rows = store.entry_rows(self.owner(), self.name().as_str(), since);
        let read = async { rows?.formers(probation, |(packed, version)| each(packed, version)).await };
        read.await.map_err(|error| Fault::new(FaultKind::Store, format!("the store can't be read: {error}")))
    }

    /// Reads the old entries that a commit may need if it fails, and that were evicted since the call wrote these keys.
    ///
    /// # Errors
    /// Fault: store, if the store can't be read.
    pub(super) async fn load(&self, keys: Vec<Box<[u8]>>) -> Result<(), Fault> {
        let mut unread = &keys[..];
        while !unread.is_empty() {
            let first = unread[..unread.len().min(KEYS_AT_ONCE)].to_vec();
            let Answer::Keys(entries) = self.read(StoreRead::Keys(first)).await? else { return Ok(()) };
            unread = &unread[entries.len()..];
            let mut state = self.locked();
            entries.into_iter().for_each(|(key, entry)| state.table.fill_key(&key, entry));
        }
        Ok(())
    }
}

impl Answer {
    async fn of_keys(rows: &EntryRows<'_>, keys: Vec<Box<[u8]>>) -> Result<Self, EngineError> {
        let (mut entries, mut bytes) = (Vec::with_capacity(keys.len()), 0);
        for key in keys {
            let entry = rows.get(&key).await?;
            bytes += entry.as_ref().map_or(0, StoredEntry::bytes);
            entries.push((key, entry));
            if bytes >= ENTRY_BYTES_AT_ONCE_MAX {
                break;
            }
        }
        Ok(Self::Keys(entries))
    }

    async fn of_range(rows: &EntryRows<'_>, read: RangeRead) -> Result<Self, EngineError> {
        let (entries, has_ended) = rows.range(&read).await?;
        Ok(Self::Range(read, entries, has_ended))
    }
}

impl State {
    /// Adds the result of a read. Returns the ranges that it covers, and the number of entries.
    fn fill(&mut self, answer: Answer, overlay: &mut Overlay) -> (Vec<KeyRange>, usize) {
        match answer {
            Answer::Keys(entries) => {
                let loaded = entries.iter().filter(|(_, entry)| entry.is_some()).count();
                let ranges = entries.iter().map(|(key, _)| KeyRange::of(key)).collect();
                entries.into_iter().for_each(|(key, entry)| self.table.fill_key(&key, entry));
                (ranges, loaded)
            }
            Answer::Range(read, entries, has_ended) => {
                let loaded = entries.len();
                self.table.fill(&read, entries, has_ended);
                (vec![read.range], loaded)
            }
            Answer::Sums(stored, is_row) => {
                self.set_sums(stored, is_row);
                overlay.set_sums(self.sums.unwrap_or_default());
                (Vec::new(), 0)
            }
        }
    }

    /// Sets the sums of the topic. `is_row` says whether they are stored.
    fn set_sums(&mut self, stored: StoredSums, is_row: bool) {
        // A failed commit may have changed the stored sums. The ones in memory are right then.
        if self.sums.is_none() {
            (self.sums, self.stored, self.has_stored_sums) = (Some(stored.sums), stored, is_row);
        }
    }
}
