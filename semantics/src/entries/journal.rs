//! The entries of a topic before its rollback point.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::ops::Bound::{Excluded, Included, Unbounded};

use super::change::{AppliedChange, EntryChange, EntryChanges, OldEntry};
use super::key::KeyRange;
use super::packed::Packed;
use super::sums::EntrySums;
use super::table::{EntryTable, Found};
use crate::limits::ENTRY_WEIGHT;

/// The entries that a topic had at its rollback point, as far as they have been changed since then. Together with the
/// table, they are the entries at the rollback point. A rollback restores them.
#[derive(Clone, Debug)]
pub struct Journal {
    /// The version of each entry, or none if there was no entry. The key of the map has the value.
    formers: BTreeMap<Packed, Option<u32>>,
    pub(super) sums: EntrySums,
    weight: u64,
}

/// An entry at the rollback point, or its absence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormerEntry<'a> {
    /// Its key.
    pub key: &'a [u8],
    /// The version that wrote it, and its value. None if there was no entry.
    pub entry: Option<(u32, &'a [u8])>,
}

impl Journal {
    /// The journal of a topic that is at its rollback point now. `sums` are those of its entries.
    #[must_use]
    pub fn new(sums: EntrySums) -> Self {
        Self { formers: BTreeMap::new(), sums, weight: 0 }
    }

    /// Returns the sums of the entries at the rollback point.
    #[must_use]
    pub fn sums(&self) -> EntrySums {
        self.sums
    }

    /// Returns the bytes with which `entries_rollback_bytes` counts it.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.weight
    }

    /// Whether nothing has been changed since the rollback point.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.formers.is_empty()
    }

    /// Returns the bytes by which the changes of a call make it larger.
    #[must_use]
    pub fn growth(&self, changes: &EntryChanges) -> u64 {
        self.news(changes).map(|change| weight(change.key.len() + change.old.value_bytes().unwrap_or_default())).sum()
    }

    /// Returns the changes of a call whose keys it doesn't have yet: the entries before them have to be stored, too.
    pub fn news<'a>(&'a self, changes: &'a EntryChanges) -> impl Iterator<Item = EntryChange<'a>> {
        changes.iter().filter(|change| !self.formers.contains_key(change.key))
    }

    /// Adds the entry before a change, unless it has one of this key. Returns whether the entry is known: the table of a
    /// durable room may have lost it.
    #[must_use]
    pub fn note(&mut self, change: AppliedChange<'_>) -> bool {
        if self.formers.contains_key(change.key) {
            return true;
        }
        match change.old {
            OldEntry::Absent => self.add(Packed::pack(change.key, &[]), None),
            OldEntry::Entry { packed, version } => self.add(packed, Some(version)),
            OldEntry::Bytes(_) => return false,
        }
        true
    }

    /// Adds an entry at the rollback point, or without a version its absence.
    pub fn add(&mut self, packed: Packed, version: Option<u32>) {
        let bytes = packed.bytes();
        if self.formers.insert(packed, version).is_none() {
            self.weight += weight(bytes);
        }
    }

    /// Whether it has an entry of this key, or its absence.
    #[must_use]
    pub fn has(&self, key: &[u8]) -> bool {
        self.formers.contains_key(key)
    }

    /// Returns its entry of this key, or its absence. None if nothing has been changed there.
    #[must_use]
    pub fn former(&self, key: &[u8]) -> Option<FormerEntry<'_>> {
        let (packed, version) = self.formers.get_key_value(key)?;
        Some(FormerEntry { key: packed.key(), entry: version.map(|version| (version, packed.value())) })
    }

    /// Returns its entries, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = FormerEntry<'_>> {
        self.formers.iter().map(|(packed, version)| FormerEntry {
            key: packed.key(),
            entry: version.map(|version| (version, packed.value())),
        })
    }

    /// Rolls the table back. The restored slots of a durable room's table are dirty.
    pub fn restore(self, table: &mut EntryTable) {
        for (packed, version) in self.formers {
            table.write(packed, version, false);
        }
    }

    /// Looks up the entry of a key at the rollback point. None if the table has it.
    pub(super) fn get(&self, key: &[u8]) -> Option<Found<'_>> {
        let (packed, version) = self.formers.get_key_value(key)?;
        Some(version.map_or(Found::Absent, |version| Found::Entry { version, value: packed.value() }))
    }

    pub(super) fn range(&self, range: &KeyRange) -> Range<'_, Packed, Option<u32>> {
        if range.is_empty() {
            return Range::default();
        }
        self.formers.range::<[u8], _>((Included(range.start()), range.end().map_or(Unbounded, Excluded)))
    }
}

fn weight(bytes: usize) -> u64 {
    (bytes + ENTRY_WEIGHT) as u64
}
