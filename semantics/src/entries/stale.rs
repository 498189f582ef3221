//! The entries that have to be upgraded before a call runs again.

use super::key::{KeyRange, successor};
use super::merge::{Merge, Seen};
use super::overlay::Overlay;
use super::read::{Order, Progress, RangeRead, StoreRead};
use super::table::{EntryTable, Found};

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

/// A search for entries that another version wrote, in the order of the keys.
#[derive(Clone, Debug)]
pub struct StaleScan {
    /// The part that is left.
    range: KeyRange,
    /// The bytes of entries that it still looks for.
    bytes: usize,
    /// The entries that it still looks at.
    entries: usize,
}

/// A search looks at a bounded number of entries, because most of a topic may be upgraded already.
const ENTRIES_MAX: usize = 10_000;

impl StaleScan {
    /// A search from the first key after this one on, up to a number of bytes of keys and values.
    #[must_use]
    pub fn after(key: &[u8], bytes: usize) -> Self {
        Self { range: KeyRange { start: successor(key), end: None }, bytes, entries: ENTRIES_MAX }
    }
}

impl Overlay {
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
        let mut merge = Merge::new(self, table, &range, Order::Forward);
        while scan.entries > 0 {
            let (key, version, value) = match merge.next() {
                None => return Progress::Done(()),
                Some(Seen::Unknown(at)) => {
                    scan.range.start = at.unwrap_or_default();
                    let (range, order) = (scan.range.clone(), Order::Forward);
                    let read = RangeRead { range, order, entries: scan.entries, bytes: scan.bytes };
                    return Progress::Read(StoreRead::Range(read));
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
