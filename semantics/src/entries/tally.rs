//! What the limits of a call's writes count.

use super::change::{Change, ChangeKind, OldEntry};
use super::packed::Packed;
use super::sums::EntrySums;
use crate::Fault;
use crate::limits::EntryLimits;

/// What the limits count, after the changes of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// The sums of the topic.
    pub(super) sums: EntrySums,
    /// The puts and deletions.
    writes: usize,
    /// Their bytes.
    write_bytes: usize,
    /// The bytes of the upgrades that are committed.
    upgrade_bytes: usize,
    /// The upgrades that aren't committed.
    pub(super) shown: usize,
    /// The bytes of the old entries that are kept.
    pub(super) old_bytes: usize,
}

impl Tally {
    /// The tally of a call without changes.
    pub(super) fn new(sums: EntrySums) -> Self {
        Self { sums, ..Self::default() }
    }

    /// Adds a change of a key that has no change yet.
    pub(super) fn add(&mut self, packed: &Packed, change: &Change, is_published: bool) {
        if let OldEntry::Entry { packed, .. } = &change.old {
            self.old_bytes += packed.bytes();
        }
        let bytes = change.committed_bytes(packed);
        self.replace(packed.key(), change.old.value_bytes(), bytes, is_published);
        self.count(change.kind, packed.bytes());
    }

    /// Counts a change with the bytes of its key and its new value.
    pub(super) fn count(&mut self, kind: ChangeKind, bytes: usize) {
        match kind {
            ChangeKind::Put | ChangeKind::Delete => {
                self.writes += 1;
                self.write_bytes += bytes;
            }
            ChangeKind::Upgrade => self.upgrade_bytes += bytes,
            ChangeKind::Shown => self.shown += 1,
        }
    }

    /// Stops counting a change, because another one replaces it. The sums stay.
    pub(super) fn discount(&mut self, packed: &Packed, change: &Change) {
        match change.kind {
            ChangeKind::Put | ChangeKind::Delete => {
                self.writes -= 1;
                self.write_bytes -= packed.bytes();
            }
            ChangeKind::Upgrade => self.upgrade_bytes -= packed.bytes(),
            ChangeKind::Shown => self.shown -= 1,
        }
    }

    /// Replaces an entry in the sums of the topic: the bytes of its value before and after, or none if it is absent.
    pub(super) fn replace(&mut self, key: &[u8], before: Option<usize>, after: Option<usize>, is_published: bool) {
        if let Some(bytes) = before {
            self.sums.remove(key, bytes, is_published);
        }
        if let Some(bytes) = after {
            self.sums.add(key, bytes, is_published);
        }
    }

    /// Checks the limits after a write. A write that makes the topic no larger is allowed also above the limits of the
    /// topic: they may have been lowered.
    pub(super) fn check(&self, before: &EntrySums, limits: &EntryLimits) -> Result<(), Fault> {
        limits.check_writes(self.writes, self.write_bytes)?;
        if self.sums.bytes > before.bytes {
            limits.check_topic(self.sums.bytes)?;
        }
        if self.sums.published > before.published {
            limits.check_published(self.sums.published)?;
        }
        Ok(())
    }

    /// Whether the upgrades may be committed.
    pub(super) fn admits_upgrades(&self, before: &EntrySums, limits: &EntryLimits) -> bool {
        self.upgrade_bytes <= limits.write_bytes_per_call && self.check(before, limits).is_ok()
    }
}
