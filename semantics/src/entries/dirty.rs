//! Entries of the table that aren't stored yet.

use super::change::{EntryChanges, OldEntry};
use super::packed::Packed;
use super::slot::State;
use super::table::{EntryTable, Found};

/// An entry that isn't stored yet, or its deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirtyEntry<'a> {
    /// Its key.
    pub key: &'a [u8],
    /// The version that wrote it, and its value. None is a deletion.
    pub entry: Option<(u32, &'a [u8])>,
}

impl EntryTable {
    /// Returns the entries that aren't stored yet, in the order of their keys.
    pub fn dirty(&self) -> impl Iterator<Item = DirtyEntry<'_>> {
        self.dirty.iter().map(|key| {
            let entry = match self.get(key) {
                Found::Entry { version, value } => Some((version, value)),
                Found::Absent | Found::Unknown => None,
            };
            DirtyEntry { key, entry }
        })
    }

    /// The store has all dirty entries: their slots are clean. A host calls it when the store has written a draft that
    /// contains all of them.
    pub fn mark_stored(&mut self) {
        for key in std::mem::take(&mut self.dirty) {
            let (Some(slot), _) = self.slot_or_gap(&key) else { continue };
            if slot.state() == State::Absent {
                self.write(Packed::pack(&key, &[]), None, true);
                continue;
            }
            let weight = slot.weight();
            slot.set_dirty(false);
            self.held.dirty_bytes -= weight;
            self.held.clean_bytes += weight;
        }
    }

    /// The store has failed to commit these changes, and nobody knows whether it has them. So the old entries become
    /// dirty, and the next commit of the topic writes them again. Otherwise a reader could find a value that was never
    /// committed.
    ///
    /// Returns the keys whose old entries neither the changes nor the table have, because they were evicted meanwhile. The
    /// caller reads them from the snapshot of the failed draft, and [writes](Self::write) them as not stored.
    #[must_use]
    pub fn restore(&mut self, changes: EntryChanges) -> Vec<Box<[u8]>> {
        let mut unknown = Vec::new();
        if self.is_complete {
            return unknown;
        }
        for (new, old) in changes.into_old() {
            let key = new.key();
            let (packed, version) = match old {
                OldEntry::Entry { packed, version } => (packed, Some(version)),
                OldEntry::Absent => (Packed::pack(key, &[]), None),
                OldEntry::Bytes(_) => match self.get(key) {
                    Found::Entry { version, value } => (Packed::pack(key, value), Some(version)),
                    Found::Absent | Found::Unknown => {
                        unknown.push(key.into());
                        continue;
                    }
                },
            };
            self.write(packed, version, false);
        }
        unknown
    }
}
