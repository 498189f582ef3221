//! The entries of a topic as one call sees them, with the call's own writes.

use std::sync::Arc;

use super::change::{Change, ChangeKind, EntryChanges};
use super::change_map::ChangeMap;
use super::journal::Journal;
use super::key::check_key;
use super::packed::Packed;
use super::read::{Progress, StoreRead};
use super::rules::EntryRules;
use super::stale::check_upgraded;
use super::sums::EntrySums;
use super::table::{EntryTable, Found};
use super::tally::Tally;
use crate::Fault;

/// The entries of a topic as one call sees them: the table, with the call's own writes laid over it. Dropping it discards
/// the writes.
///
/// Each write first looks up the entry before. So the sums are exact when the plugin asks, each limit is checked then, and
/// the commit has nothing left to refuse.
///
/// An empty overlay has no allocation.
#[derive(Debug)]
pub struct Overlay {
    pub(super) rules: Arc<EntryRules>,
    /// The call sees the entries before a rollback point.
    pub(super) before: Option<Arc<Journal>>,
    pub(super) changes: ChangeMap,
    /// The upgrades that the call has overwritten. They are needed if the call runs again.
    pub(super) overwritten: Vec<(Packed, Change)>,
    /// The sums of the topic before the call, if they are known.
    pub(super) base: Option<EntrySums>,
    pub(super) tally: Tally,
    /// The bytes of all entries that were upgraded for the call, in all of its runs.
    pub(super) upgraded_bytes: usize,
    /// The keys of entries that have to be upgraded before the call runs again.
    pub(super) needed: Vec<Box<[u8]>>,
    /// The bytes of entries that are upgraded in addition after the next run. 0 before the first.
    pub(super) ahead: usize,
}

impl Overlay {
    /// Begins a call. `sums` are those of the topic, if they are known: a read doesn't need them.
    #[must_use]
    pub fn new(rules: Arc<EntryRules>, sums: Option<EntrySums>) -> Self {
        let tally = Tally::new(sums.unwrap_or_default());
        let (changes, overwritten) = (ChangeMap::default(), Vec::new());
        Self {
            rules,
            before: None,
            changes,
            overwritten,
            base: sums,
            tally,
            upgraded_bytes: 0,
            needed: Vec::new(),
            ahead: 0,
        }
    }

    /// Begins a call that sees the entries of the topic as they were at its rollback point. Its changes must not be
    /// applied.
    #[must_use]
    pub fn at_rollback_point(rules: Arc<EntryRules>, journal: Arc<Journal>) -> Self {
        let sums = journal.sums();
        Self { before: Some(journal), ..Self::new(rules, Some(sums)) }
    }

    /// Looks up a key in the entries before the call.
    #[inline]
    pub(super) fn find<'a>(&'a self, table: &'a EntryTable, key: &[u8]) -> Found<'a> {
        let former = self.before.as_ref().and_then(|journal| journal.get(key));
        former.unwrap_or_else(|| table.get(key))
    }

    /// Sets the sums of the topic, which a write has asked for.
    pub fn set_sums(&mut self, sums: EntrySums) {
        if self.base.is_none() {
            self.base = Some(sums);
            self.tally.sums = sums;
        }
    }

    /// Returns the bytes by which the call makes a memory room larger, as `entries_memory_bytes` counts them.
    #[must_use]
    pub fn growth(&self) -> u64 {
        self.tally.sums.weight().saturating_sub(self.base.unwrap_or_default().weight())
    }

    /// Whether the call has changed no entry so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.len() == self.tally.shown
    }

    /// Ends a call that has succeeded. Returns its changes, if there are any.
    #[must_use]
    pub fn into_changes(self) -> Option<EntryChanges> {
        let Self { rules, mut changes, tally, .. } = self;
        if tally.shown > 0 {
            changes.retain(|change| change.kind != ChangeKind::Shown);
        }
        (!changes.is_empty()).then(|| EntryChanges { changes, version: rules.version, sums: tally.sums })
    }

    /// Discards the writes of a call, and keeps the upgraded entries. So a call that runs again sees the same entries as the
    /// first time.
    pub fn rewind(&mut self) {
        self.tally = Tally::new(self.base.unwrap_or_default());
        let changes = std::mem::take(&mut self.changes).into_iter().filter(|(_, change)| !change.is_write());
        for (packed, change) in changes.chain(std::mem::take(&mut self.overwritten)) {
            self.tally.add(&packed, &change, self.rules.is_published(packed.key()));
            self.changes.insert(packed, change);
        }
    }

    /// Returns the value of a key, if there is such an entry. It takes O(log n).
    ///
    /// # Errors
    /// Fault: oversize, if the key is empty or too long.
    pub fn get<'a>(&'a self, table: &'a EntryTable, key: &[u8]) -> Result<Progress<Option<&'a [u8]>>, Fault> {
        check_key(key)?;
        if let Some((packed, change)) = self.changes.get(key) {
            return Ok(Progress::Done(change.value(packed)));
        }
        Ok(match self.find(table, key) {
            Found::Entry { version, .. } if self.rules.is_stale(version) => Progress::Upgrade(vec![key.into()]),
            Found::Entry { value, .. } => Progress::Done(Some(value)),
            Found::Absent => Progress::Done(None),
            Found::Unknown => Progress::Read(StoreRead::Keys(vec![key.into()])),
        })
    }

    /// Sets the value of a key. It takes O(log n).
    ///
    /// # Errors
    /// Fault: oversize, if a limit is exceeded. Fault: failed, if the entry is published, and isn't JSON.
    pub fn put(&mut self, table: &EntryTable, key: &[u8], value: &[u8]) -> Result<Progress<()>, Fault> {
        check_key(key)?;
        self.rules.limits.check_value(value.len())?;
        let before = match self.look_up(table, key) {
            Ok(before) => before,
            Err(read) => return Ok(Progress::Read(read)),
        };
        let tally = self.admit_put(key, &before, value.len())?;
        // After the limits, so that a call can't make the host parse more than they allow.
        let parsed = self.rules.check_published(key, value)?;
        self.record(Packed::pack(key, value), before.old, ChangeKind::Put, parsed, tally);
        Ok(Progress::Done(()))
    }

    /// Sets the values of several keys, in their order. `entries` is advanced behind each entry that has been put.
    ///
    /// # Errors
    /// See [`put`](Self::put).
    pub fn put_many<'e>(
        &mut self,
        table: &EntryTable,
        entries: &mut (impl Iterator<Item = (&'e [u8], &'e [u8])> + Clone),
    ) -> Result<Progress<()>, Fault> {
        loop {
            let mut rest = entries.clone();
            let Some((key, value)) = rest.next() else { return Ok(Progress::Done(())) };
            match self.put(table, key, value)? {
                Progress::Done(()) => *entries = rest,
                Progress::Read(StoreRead::Keys(_)) => {
                    return Ok(Progress::Read(self.unknown(table, entries.clone().map(|(key, _)| key))));
                }
                progress => return Ok(progress),
            }
        }
    }

    /// Deletes a key. If there is no such entry, nothing happens. It takes O(log n).
    ///
    /// # Errors
    /// Fault: oversize, if a limit is exceeded.
    pub fn delete(&mut self, table: &EntryTable, key: &[u8]) -> Result<Progress<()>, Fault> {
        check_key(key)?;
        let before = match self.look_up(table, key) {
            Ok(before) => before,
            Err(read) => return Ok(Progress::Read(read)),
        };
        self.delete_known(Packed::pack(key, &[]), before)?;
        Ok(Progress::Done(()))
    }

    /// Adds an entry that was upgraded, before the callback runs again. If the upgrades of a call have more bytes than its
    /// writes may have, or if the topic would have too many, the callback reads the upgraded value, and the entry itself
    /// stays as it is.
    ///
    /// # Errors
    /// Fault: oversize, if the value is too long, or the call needs too many upgraded entries. Fault: failed, if the entry is
    /// published, and the value isn't JSON.
    pub fn upgrade(&mut self, table: &EntryTable, key: &[u8], value: &[u8]) -> Result<Progress<()>, Fault> {
        check_key(key)?;
        self.rules.limits.check_value(value.len())?;
        // A write of the call is newer, and so is an earlier upgrade.
        if self.changes.get(key).is_some() {
            return Ok(Progress::Done(()));
        }
        let before = match self.look_up(table, key) {
            Ok(before) => before,
            Err(read) => return Ok(Progress::Read(read)),
        };
        if before.value_bytes.is_some() {
            check_upgraded(self.upgraded_bytes + key.len() + value.len())?;
            self.record_upgrade(key, value, before)?;
        }
        Ok(Progress::Done(()))
    }
}
