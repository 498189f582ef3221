//! The rows of entries: reads of the latest snapshot, and writes by a draft.

use std::sync::Arc;

use bennu_semantics::entries::{DirtyEntry, EntrySums, Order, RangeRead, StoredEntry};
use bytes::{BufMut, Bytes, BytesMut};

use super::draft::{Draft, Seen};
use super::engine::{Direction, EngineError, ScanLimit};
use super::entry_sums::StoredSums;
use super::handle::Store;
use super::revision::Revision;
use super::space::{self, Kind, Owner};
use bennu_semantics::limits::Oversize;

/// The most rows that are read at once to count the sums of a topic.
const COUNTED_AT_ONCE: ScanLimit = ScanLimit { rows: 1000, bytes: 1 << 20 };

/// The entries of a topic in the store, as they were last committed.
///
/// Only turns of the topic write its entries, and one turn runs at a time. So a turn doesn't need a snapshot from its
/// beginning: the latest one has the same entries, and its own commits.
pub struct EntryRows<'a> {
    pub(super) seen: Arc<Seen>,
    pub(super) owner: &'a Owner,
    pub(super) topic: &'a str,
}

impl Store {
    /// Returns the stored entries of a topic. They contain the commit with this revision.
    ///
    /// # Errors
    /// If the store can't read its last writes yet.
    pub fn entry_rows<'a>(
        &self,
        owner: &'a Owner,
        topic: &'a str,
        since: Revision,
    ) -> Result<EntryRows<'a>, EngineError> {
        let seen = self.seen();
        // A commit has succeeded, but the engine gave no snapshot after it.
        if seen.revision < since {
            return Err(EngineError::new("it can't read its last writes yet"));
        }
        Ok(EntryRows { seen, owner, topic })
    }
}

impl EntryRows<'_> {
    /// Returns the entry of a key, if there is one.
    ///
    /// # Errors
    /// If the engine fails, or the row is damaged.
    pub async fn get(&self, key: &[u8]) -> Result<Option<StoredEntry>, EngineError> {
        let place = self.owner.entry_place(Kind::Entries, self.topic, key);
        let row = self.seen.value(&place).await?;
        row.map(|value| entry(key, &value)).transpose()
    }

    /// Returns the entries of a range, in its order, and whether these are all of them.
    ///
    /// # Errors
    /// If the engine fails, or a row is damaged.
    pub async fn range(&self, read: &RangeRead) -> Result<(Vec<StoredEntry>, bool), EngineError> {
        let span = self.owner.entry_span(self.topic, read.range.start(), read.range.end());
        let direction = match read.order {
            Order::Forward => Direction::Forward,
            Order::Backward => Direction::Backward,
        };
        let before = self.key_at();
        // The limit counts whole rows, and a row has more bytes than its key and value.
        let bytes = read.bytes.saturating_add(read.entries.saturating_mul(before + size_of::<u32>()));
        let found = self.seen.rows_in(&span, direction, ScanLimit { rows: read.entries, bytes }).await?;
        let entries = found.rows.iter().map(|(place, value)| entry(&place[before..], value)).collect::<Result<_, _>>();
        Ok((entries?, found.ended))
    }

    /// Returns the stored sums. If there are none, the topic has no entries, or they have to be [counted](Self::count).
    ///
    /// # Errors
    /// If the engine fails, or the row is damaged.
    pub async fn sums(&self) -> Result<Option<StoredSums>, EngineError> {
        let place = self.owner.place(Kind::EntrySums, self.topic.as_bytes());
        let row = self.seen.value(&place).await?;
        let damaged = || EngineError::new("the stored sums of a topic's entries are damaged");
        row.map(|row| StoredSums::decode(row).ok_or_else(damaged)).transpose()
    }

    /// Counts the entries. It doesn't know which of them are published.
    ///
    /// # Errors
    /// If the engine fails, or a row is damaged.
    pub async fn count(&self) -> Result<EntrySums, EngineError> {
        let (mut sums, before) = (EntrySums::default(), self.key_at());
        let mut unread = Some(self.owner.entry_span(self.topic, &[], None));
        while let Some(span) = unread.take() {
            let found = self.seen.rows(&span, COUNTED_AT_ONCE).await?;
            for (place, value) in &found.rows {
                sums.add(&place[before..], split(value)?.1.len(), false);
            }
            if let Some((last, _)) = found.rows.last().filter(|_| !found.ended) {
                unread = Some(span.split_after(last, Direction::Forward).1);
            }
        }
        Ok(sums)
    }

    /// Where the key begins in a key of the engine.
    fn key_at(&self) -> usize {
        self.owner.entry_place(Kind::Entries, self.topic, &[]).len()
    }
}

impl Draft {
    /// Writes an entry of a topic, or deletes it. The host does this. It doesn't count for the limits of a call's writes.
    ///
    /// # Errors
    /// If the topic is too long.
    pub fn set_entry(&mut self, topic: &str, DirtyEntry { key, entry }: DirtyEntry<'_>) -> Result<(), Oversize> {
        self.check_topic(topic)?;
        let place = self.owner.entry_place(Kind::Entries, topic, key);
        self.writes.insert(place, entry.map(|(version, value)| entry_row(version, value)));
        Ok(())
    }

    /// Writes the sums of a topic's entries.
    ///
    /// # Errors
    /// If the topic is too long.
    pub fn set_entry_sums(&mut self, topic: &str, sums: &StoredSums) -> Result<(), Oversize> {
        self.check_topic(topic)?;
        self.writes.insert(self.owner.place(Kind::EntrySums, topic.as_bytes()), sums.encode());
        Ok(())
    }

    /// Removes the sums of a topic's entries, so that they are counted when they are needed next.
    pub(super) fn remove_entry_sums(&mut self, topic: &str) {
        self.writes.insert(self.owner.place(Kind::EntrySums, topic.as_bytes()), None);
    }

    /// Writes a row of an entry, or of its before-image, in its stored form, or deletes it.
    pub(super) fn set_entry_row(&mut self, kind: Kind, name: &[u8], value: Option<Bytes>) {
        self.writes.insert(self.owner.place(kind, name), value);
    }

    pub(super) fn check_topic(&self, topic: &str) -> Result<(), Oversize> {
        self.limits().check_key(topic.as_bytes())?;
        space::check_entry_topic(topic)
    }
}

/// Returns the stored form of an entry: the version that wrote it, and its value.
pub(super) fn entry_row(version: u32, value: &[u8]) -> Bytes {
    let mut row = BytesMut::with_capacity(size_of::<u32>() + value.len());
    row.put_u32(version);
    row.put_slice(value);
    row.freeze()
}

/// Splits the stored form of an entry.
///
/// # Errors
/// If it is damaged.
pub(super) fn split(row: &[u8]) -> Result<(u32, &[u8]), EngineError> {
    let (version, value) = row.split_first_chunk().ok_or_else(damaged)?;
    Ok((u32::from_be_bytes(*version), value))
}

fn entry(key: &[u8], row: &[u8]) -> Result<StoredEntry, EngineError> {
    let (version, value) = split(row)?;
    StoredEntry::new(key, version, value).map_err(|_| damaged())
}

fn damaged() -> EngineError {
    EngineError::new("a stored entry is damaged")
}
