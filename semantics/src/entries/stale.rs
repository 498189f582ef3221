//! The entries that have to be upgraded before a call runs again.

use super::key::{KeyRange, successor};
use super::merge::{Merge, Seen};
use super::overlay::Overlay;
use super::read::{Order, Progress, RangeRead, StoreRead};
use super::table::{EntryTable, Found};
use crate::Fault;

/// An entry that another version wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleEntry {
    /// Its key.
    pub key: Box<[u8]>,
    /// The version that wrote it.
    pub version: u32,
    /// Its value.
    pub value: Box<[u8]>,
}

/// A search for entries that another version wrote, beyond those that a callback needs.
#[derive(Clone, Debug)]
pub struct StaleScan {
    /// The part that is left.
    range: KeyRange,
    order: Order,
    /// The bytes of entries that it still looks for.
    bytes: usize,
    /// The entries that it still looks at.
    entries: usize,
}

/// The most bytes of all entries that are upgraded for one call. The overlay keeps them until the call ends.
const UPGRADED_BYTES_MAX: usize = 16 << 20;

/// The bytes of entries that are upgraded in addition after the first run, and the most after a run.
const AHEAD_FIRST: usize = 64 << 10;
const AHEAD_MAX: usize = 4 << 20;

/// A search looks at a bounded number of entries, because most of a topic may be upgraded already.
const ENTRIES_MAX: usize = 10_000;

impl StaleScan {
    /// A search beyond the last of these keys, up to a number of bytes of keys and values. If the callback has needed the
    /// keys from the last to the first, the search goes the same way.
    #[must_use]
    pub fn beyond(keys: &[Box<[u8]>], bytes: usize) -> Self {
        let (first, last) = (keys.first(), keys.last().cloned().unwrap_or_default());
        let (range, order) = if first.is_some_and(|first| last < *first) {
            (KeyRange { start: Box::default(), end: Some(last) }, Order::Backward)
        } else {
            (KeyRange { start: successor(&last), end: None }, Order::Forward)
        };
        Self { range, order, bytes, entries: ENTRIES_MAX }
    }
}

impl Overlay {
    /// Notes the entries that an operation has asked to upgrade. The call has to end, and runs again after the upgrades.
    pub fn need_upgrade(&mut self, keys: Vec<Box<[u8]>>) {
        self.needed = keys;
    }

    /// Whether the call has to end, because entries have to be upgraded before it runs again.
    #[must_use]
    pub fn needs_upgrade(&self) -> bool {
        !self.needed.is_empty()
    }

    /// Discards the writes of a call whose entries are upgraded before it runs again. Returns the keys of the entries that
    /// it needs, and the bytes of entries to upgrade in addition. They double with each run, so that a long scan needs few
    /// runs.
    pub fn rewind_to_upgrade(&mut self) -> (Vec<Box<[u8]>>, usize) {
        self.rewind();
        let needed = std::mem::take(&mut self.needed);
        if self.upgraded_bytes > UPGRADED_BYTES_MAX / 2 {
            // The rest is for entries that the call needs.
            return (needed, 0);
        }
        let ahead = self.ahead.clamp(AHEAD_FIRST, AHEAD_MAX);
        self.ahead = ahead * 2;
        (needed, ahead)
    }

    /// Returns the entry of a key, if it has to be upgraded before the callback reads it.
    pub fn stale(&self, table: &EntryTable, key: &[u8]) -> Progress<Option<StaleEntry>> {
        if self.changes.get(key).is_some() {
            return Progress::Done(None);
        }
        match self.find(table, key) {
            Found::Entry { version, value } if self.rules.is_stale(version) => {
                Progress::Done(Some(StaleEntry { key: key.into(), version, value: value.into() }))
            }
            Found::Entry { .. } | Found::Absent => Progress::Done(None),
            Found::Unknown => Progress::Read(StoreRead::Keys(vec![key.into()])),
        }
    }

    /// Returns the entries that a search finds, by `each`.
    pub fn scan_stale(
        &self,
        table: &EntryTable,
        scan: &mut StaleScan,
        each: &mut impl FnMut(StaleEntry),
    ) -> Progress<()> {
        let range = scan.range.clone();
        let mut merge = Merge::new(self, table, &range, scan.order);
        while scan.entries > 0 {
            let (key, version, value) = match merge.next() {
                None => return Progress::Done(()),
                Some(Seen::Unknown(at)) => {
                    match scan.order {
                        Order::Forward => scan.range.start = at.unwrap_or_default(),
                        Order::Backward => scan.range.end = at,
                    }
                    let StaleScan { range, order, bytes, entries } = scan.clone();
                    return Progress::Read(StoreRead::Range(RangeRead { range, order, entries, bytes }));
                }
                Some(Seen::Changed(packed)) => (packed.key(), self.rules.version, packed.value()),
                Some(Seen::Former(packed, version)) => (packed.key(), version, packed.value()),
                Some(Seen::Stored(slot)) => (slot.key(), slot.version(), slot.value()),
            };
            scan.entries -= 1;
            if !self.rules.is_stale(version) {
                continue;
            }
            let bytes = key.len() + value.len();
            if bytes > scan.bytes {
                return Progress::Done(());
            }
            scan.bytes -= bytes;
            each(StaleEntry { key: key.into(), version, value: value.into() });
        }
        Progress::Done(())
    }
}

/// Checks the bytes of all entries that are upgraded for one call.
///
/// # Errors
/// Fault: oversize.
pub(super) fn check_upgraded(bytes: usize) -> Result<(), Fault> {
    if bytes > UPGRADED_BYTES_MAX {
        return Err(Fault::oversize(format!(
            "a call needs more than {UPGRADED_BYTES_MAX} bytes of entries that another version wrote; read fewer of them in \
             one call"
        )));
    }
    Ok(())
}
