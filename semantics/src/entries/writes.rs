//! The steps of a write: the entry before, the limits, the change.

use super::change::{Change, ChangeKind, OldEntry};
use super::key::KeyRange;
use super::merge::{Merge, Seen};
use super::overlay::Overlay;
use super::packed::Packed;
use super::read::{Order, Progress, RangeRead, StoreRead};
use super::table::{EntryTable, Found};
use super::tally::Tally;
use crate::Fault;
use crate::limits::{ENTRIES_AT_ONCE_MAX, ENTRY_BYTES_AT_ONCE_MAX};

/// The entry of a key before a write.
pub(super) struct Before {
    /// The bytes of its value as the call would be committed now. None if there would be no entry.
    pub(super) value_bytes: Option<usize>,
    /// Whether there was no entry before the call.
    was_absent: bool,
    /// The entry before the call. None if the call has changed the key already: then that change has it.
    pub(super) old: Option<OldEntry>,
    /// The tally without that change. Its sums still contain the change.
    tally: Tally,
}

/// A delete-range that is under way.
#[derive(Clone, Debug)]
pub struct EntryDeletion {
    /// The part that is left.
    range: KeyRange,
    /// The most entries to delete.
    left: usize,
    deleted: u32,
}

impl EntryDeletion {
    /// A delete-range with the arguments of the contract.
    ///
    /// # Errors
    /// Fault: oversize, if a bound is too long.
    pub fn new(start: Option<&[u8]>, end: Option<&[u8]>, limit: u32) -> Result<Self, Fault> {
        let left = usize::try_from(limit).unwrap_or(usize::MAX).min(ENTRIES_AT_ONCE_MAX);
        Ok(Self { range: KeyRange::new(start, end)?, left, deleted: 0 })
    }
}

impl Overlay {
    /// Deletes the entries of a range, from its beginning. Returns their number. It takes O(log n) for each deleted entry,
    /// and O(1) for each key in the range that is deleted already, or known to be absent.
    ///
    /// # Errors
    /// Fault: oversize, if a limit is exceeded.
    pub fn delete_range(&mut self, table: &EntryTable, deletion: &mut EntryDeletion) -> Result<Progress<u32>, Fault> {
        if self.base.is_none() {
            return Ok(Progress::Read(StoreRead::Sums));
        }
        let (mut found, mut unknown) = (Vec::new(), None);
        let mut merge = Merge::new(self, table, &deletion.range, Order::Forward);
        let mut old_bytes = self.tally.old_bytes;
        while found.len() < deletion.left {
            match merge.next() {
                None => break,
                Some(Seen::Unknown(at)) => {
                    unknown = at;
                    break;
                }
                Some(Seen::Changed(packed) | Seen::Former(packed, _)) => {
                    found.push((Packed::pack(packed.key(), &[]), None));
                }
                Some(Seen::Stored(slot)) => {
                    let old = self.old_entry(table, slot.key(), slot.version(), slot.value(), &mut old_bytes);
                    found.push((Packed::pack(slot.key(), &[]), Some(old)));
                }
            }
        }
        deletion.left -= found.len();
        for (packed, old) in found {
            let before = match old {
                Some(old) => self.before(old),
                None => match self.look_up(table, packed.key()) {
                    Ok(before) => before,
                    Err(read) => return Ok(Progress::Read(read)),
                },
            };
            self.delete_known(packed, before)?;
            deletion.deleted += 1;
        }
        let Some(start) = unknown else { return Ok(Progress::Done(deletion.deleted)) };
        deletion.range.start = start;
        let (range, entries, bytes) = (deletion.range.clone(), deletion.left, ENTRY_BYTES_AT_ONCE_MAX);
        Ok(Progress::Read(StoreRead::Range(RangeRead { range, order: Order::Forward, entries, bytes })))
    }

    /// Looks up the entry of a key before a write. The error says what has to be read from the store first.
    pub(super) fn look_up(&self, table: &EntryTable, key: &[u8]) -> Result<Before, StoreRead> {
        if self.base.is_none() {
            return Err(StoreRead::Sums);
        }
        if let Some((packed, change)) = self.changes.get(key) {
            let was_absent = matches!(change.old, OldEntry::Absent);
            let mut tally = self.tally;
            tally.discount(packed, change);
            return Ok(Before { value_bytes: change.committed_bytes(packed), was_absent, old: None, tally });
        }
        match self.find(table, key) {
            Found::Unknown => Err(StoreRead::Keys(vec![key.into()])),
            Found::Absent => Ok(self.before(OldEntry::Absent)),
            Found::Entry { version, value } => {
                let mut old_bytes = self.tally.old_bytes;
                Ok(self.before(self.old_entry(table, key, version, value, &mut old_bytes)))
            }
        }
    }

    /// The entry of a key that the call hasn't changed yet.
    fn before(&self, old: OldEntry) -> Before {
        let mut tally = self.tally;
        if let OldEntry::Entry { packed, .. } = &old {
            tally.old_bytes += packed.bytes();
        }
        let was_absent = matches!(old, OldEntry::Absent);
        Before { value_bytes: old.value_bytes(), was_absent, old: Some(old), tally }
    }

    /// The entry before the call, with its value if the commit needs the value and can't take it from the table. Adds to
    /// the bytes of the old entries that are kept.
    fn old_entry(&self, table: &EntryTable, key: &[u8], version: u32, value: &[u8], kept: &mut usize) -> OldEntry {
        let bytes = key.len() + value.len();
        let has_room = self.rules.old_bytes > 0 && *kept + bytes <= self.rules.old_bytes;
        // A complete table loses no entry, so that the old value can be moved out of it at the commit.
        if has_room || !table.is_complete() && self.rules.is_published(key) {
            *kept += bytes;
            return OldEntry::Entry { packed: Packed::pack(key, value), version };
        }
        OldEntry::Bytes(value.len())
    }

    /// Returns the tally after a put of a value with these bytes.
    ///
    /// # Errors
    /// Fault: oversize, if a limit is exceeded.
    pub(super) fn admit_put(&self, key: &[u8], before: &Before, value_bytes: usize) -> Result<Tally, Fault> {
        let mut tally = before.tally;
        tally.replace(key, before.value_bytes, Some(value_bytes), self.rules.is_published(key));
        tally.count(ChangeKind::Put, key.len() + value_bytes);
        tally.check(&self.tally.sums, &self.rules.limits)?;
        Ok(tally)
    }

    /// Deletes an entry whose state before is known. `packed` is the key alone.
    pub(super) fn delete_known(&mut self, packed: Packed, before: Before) -> Result<(), Fault> {
        let Some(bytes) = before.value_bytes else { return Ok(()) };
        let (key, mut tally) = (packed.key(), before.tally);
        tally.replace(key, Some(bytes), None, self.rules.is_published(key));
        if before.was_absent {
            // The call itself has put it, so nothing is left to commit.
            self.changes.remove(key);
            self.tally = tally;
            return Ok(());
        }
        tally.count(ChangeKind::Delete, packed.bytes());
        tally.check(&self.tally.sums, &self.rules.limits)?;
        self.record(packed, before.old, ChangeKind::Delete, None, tally);
        Ok(())
    }

    /// Records an upgrade of an entry that is there, and that the call hasn't changed.
    pub(super) fn record_upgrade(&mut self, key: &[u8], value: &[u8], before: Before) -> Result<(), Fault> {
        let parsed = self.rules.check_published(key, value)?;
        let mut tally = before.tally;
        tally.replace(key, before.value_bytes, Some(value.len()), self.rules.is_published(key));
        tally.count(ChangeKind::Upgrade, key.len() + value.len());
        self.upgraded_bytes += key.len() + value.len();
        let mut kind = ChangeKind::Upgrade;
        if !tally.admits_upgrades(&self.tally.sums, &self.rules.limits) {
            kind = ChangeKind::Shown;
            tally = before.tally;
            tally.count(kind, 0);
        }
        self.record(Packed::pack(key, value), before.old, kind, parsed, tally);
        Ok(())
    }

    /// Records a change. Without an old entry, it replaces an earlier change of the key, which has the old entry.
    pub(super) fn record(
        &mut self,
        packed: Packed,
        old: Option<OldEntry>,
        kind: ChangeKind,
        parsed: Option<Box<serde_json::Value>>,
        tally: Tally,
    ) {
        let old = old.or_else(|| {
            let (earlier, change) = self.changes.remove(packed.key())?;
            if change.is_write() {
                return Some(change.old);
            }
            let old = change.old.clone();
            self.overwritten.push((earlier, change));
            Some(old)
        });
        let old = old.unwrap_or(OldEntry::Absent);
        self.changes.insert(packed, Change { old, kind, parsed });
        self.tally = tally;
    }
}
