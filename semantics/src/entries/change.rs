//! The changes of one call.

use serde_json::Value;

use super::change_map::ChangeMap;
use super::packed::Packed;
use super::slot::{Slot, State};
use super::sums::EntrySums;
use super::table::EntryTable;

/// The entry of a key before the call.
#[derive(Clone, Debug)]
pub enum OldEntry {
    /// There was none.
    Absent,
    /// There was one, with this number of bytes in its value. The table of a memory room still has the entry.
    Bytes(usize),
    /// There was this one.
    Entry {
        /// Its key and its value.
        packed: Packed,
        /// The version that wrote it.
        version: u32,
    },
}

/// The kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The callback set the value.
    Put,
    /// The callback deleted the entry.
    Delete,
    /// The host upgraded the entry. It doesn't count as a write of the call.
    Upgrade,
    /// The same, but the call has more upgrades than may be committed. The callback reads the upgraded value, and the
    /// entry stays as it is.
    Shown,
}

/// The change of one key. The map's key has the new value.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) old: OldEntry,
    pub(super) kind: ChangeKind,
    /// The parsed new value of a published entry.
    pub(super) parsed: Option<Box<Value>>,
}

/// The changes of a call that has succeeded, in the order of their keys.
#[derive(Clone, Debug)]
pub struct EntryChanges {
    pub(super) changes: ChangeMap,
    /// The version that wrote the new values.
    pub(super) version: u32,
    pub(super) sums: EntrySums,
}

/// One change, before it is applied.
#[derive(Clone, Copy, Debug)]
pub struct EntryChange<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The kind: a put, a deletion, or an upgrade.
    pub kind: ChangeKind,
    /// The entry before.
    pub old: &'a OldEntry,
    /// The new value. None is a deletion.
    pub new: Option<&'a [u8]>,
}

/// One change, after it was applied to the table.
#[derive(Debug)]
pub struct AppliedChange<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The kind: a put, a deletion, or an upgrade.
    pub kind: ChangeKind,
    /// The entry before. In a memory room it is always complete, because the table has had it.
    pub old: OldEntry,
    /// The new value. None is a deletion.
    pub new: Option<&'a [u8]>,
    /// The parsed new value of a published entry.
    pub parsed: Option<Box<Value>>,
}

impl OldEntry {
    /// Returns the bytes of its value, if there was an entry.
    #[must_use]
    pub fn value_bytes(&self) -> Option<usize> {
        match self {
            Self::Absent => None,
            Self::Bytes(bytes) => Some(*bytes),
            Self::Entry { packed, .. } => Some(packed.value().len()),
        }
    }
}

impl OldEntry {
    /// Returns the complete entry, if the table had it in this slot.
    fn or(self, slot: Option<Slot>) -> Self {
        self.or_entry(slot.filter(|slot| slot.state() == State::Present).map(Slot::into_parts))
    }

    fn or_entry(self, entry: Option<(Packed, u32)>) -> Self {
        match (self, entry) {
            (Self::Bytes(_), Some((packed, version))) => Self::Entry { packed, version },
            (old, _) => old,
        }
    }
}

impl Change {
    /// The value that the callback reads.
    #[inline]
    pub(super) fn value<'a>(&self, packed: &'a Packed) -> Option<&'a [u8]> {
        (self.kind != ChangeKind::Delete).then(|| packed.value())
    }

    /// The bytes of the value after the commit, if there is an entry then.
    pub(super) fn committed_bytes(&self, packed: &Packed) -> Option<usize> {
        match self.kind {
            ChangeKind::Put | ChangeKind::Upgrade => Some(packed.value().len()),
            ChangeKind::Delete => None,
            ChangeKind::Shown => self.old.value_bytes(),
        }
    }

    /// Whether it counts as a write of the call.
    pub(super) fn is_write(&self) -> bool {
        matches!(self.kind, ChangeKind::Put | ChangeKind::Delete)
    }
}

impl EntryChanges {
    /// Returns the sums of the topic after these changes.
    #[must_use]
    pub fn sums(&self) -> EntrySums {
        self.sums
    }

    /// Returns the version that wrote the new values.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Returns the number of changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there is no change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Returns the changes, to store them.
    pub fn iter(&self) -> impl Iterator<Item = EntryChange<'_>> {
        self.changes.iter().map(|(packed, change)| {
            let Change { old, kind, .. } = change;
            EntryChange { key: packed.key(), kind: *kind, old, new: change.value(packed) }
        })
    }

    /// Returns the old entries, with their keys.
    pub(super) fn into_old(self) -> impl Iterator<Item = (Packed, OldEntry)> {
        self.changes.into_iter().map(|(packed, change)| (packed, change.old))
    }
}

impl EntryTable {
    /// Applies the changes of a call that was committed. `is_stored` says that the store has them; otherwise the slots
    /// become dirty. `each` gets each change, in the order of the keys.
    ///
    /// New values move into the table, and old ones out of it, so that nothing is copied.
    pub fn apply(&mut self, changes: EntryChanges, is_stored: bool, mut each: impl FnMut(AppliedChange<'_>)) {
        let (version, is_complete) = (changes.version, self.is_complete());
        for (packed, Change { old, kind, parsed }) in changes.changes {
            if kind != ChangeKind::Delete {
                let slot = Slot::present(packed, version, !(is_stored || is_complete), self.now);
                self.put_with(slot, |before, slot| {
                    let (old, key, new) = (old.or(before), slot.key(), Some(slot.value()));
                    each(AppliedChange { key, kind, old, new, parsed });
                });
            } else if is_complete {
                let old = old.or(self.remove(packed.key()));
                each(AppliedChange { key: packed.key(), kind, old, new: None, parsed: None });
            } else {
                // The slot may keep the key, as the deletion of an entry that is still stored.
                let before = self.write(packed.clone(), None, is_stored);
                let old = old.or_entry(before);
                each(AppliedChange { key: packed.key(), kind, old, new: None, parsed: None });
            }
        }
    }
}
