//! Scans, and reads of several keys, of one call.

use super::key::{KeyRange, check_key};
use super::merge::{Merge, Seen};
use super::overlay::Overlay;
use super::read::{KEYS_AT_ONCE, Order, Progress, RangeRead, StoreRead};
use super::table::{EntryTable, Found};
use crate::Fault;
use crate::limits::{ENTRIES_AT_ONCE_MAX, ENTRY_BYTES_AT_ONCE_MAX};

/// A scan that is under way.
#[derive(Clone, Debug)]
pub struct EntryScan {
    /// The part that is left.
    range: KeyRange,
    order: Order,
    entries: usize,
    bytes: usize,
}

/// A get-many that is under way.
#[derive(Clone, Debug)]
pub struct EntryList<I> {
    /// The keys that are left.
    keys: I,
    bytes: usize,
}

impl EntryScan {
    /// A scan with the arguments of the contract.
    ///
    /// # Errors
    /// Fault: oversize, if a bound is too long.
    pub fn new(start: Option<&[u8]>, end: Option<&[u8]>, order: Order, limit: u32) -> Result<Self, Fault> {
        let range = KeyRange::new(start, end)?;
        let entries = usize::try_from(limit).unwrap_or(usize::MAX).min(ENTRIES_AT_ONCE_MAX);
        Ok(Self { range, order, entries, bytes: ENTRY_BYTES_AT_ONCE_MAX })
    }

    /// Counts an entry. Returns whether the scan ends with it. A scan that ends early has returned at least 1 MiB, so that
    /// its caller knows from a shorter result that the range has no more.
    fn count(&mut self, bytes: usize) -> bool {
        self.entries -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
        self.entries == 0 || self.bytes == 0
    }

    /// The read of the store from an unknown key on.
    fn read_from(&mut self, at: Option<Box<[u8]>>) -> StoreRead {
        match self.order {
            Order::Forward => self.range.start = at.unwrap_or_default(),
            Order::Backward => self.range.end = at,
        }
        let (entries, bytes) = (self.entries, self.bytes);
        StoreRead::Range(RangeRead { range: self.range.clone(), order: self.order, entries, bytes })
    }
}

impl<'k, I: Iterator<Item = &'k [u8]> + Clone> EntryList<I> {
    /// A get-many of these keys.
    ///
    /// # Errors
    /// Fault: oversize, if there are too many.
    pub fn new(keys: I) -> Result<Self, Fault> {
        let count = keys.clone().count();
        if count > ENTRIES_AT_ONCE_MAX {
            return Err(Fault::oversize(format!("a get-many has {count} keys; at most {ENTRIES_AT_ONCE_MAX}")));
        }
        Ok(Self { keys, bytes: 0 })
    }
}

impl Overlay {
    /// Returns the entries of a scan, by `each`, in its order.
    ///
    /// It takes O(log n) for the table and the changes, and O(1) for each entry, and for each key in the range that is
    /// deleted or known to be absent.
    pub fn scan(&self, table: &EntryTable, scan: &mut EntryScan, each: &mut impl FnMut(&[u8], &[u8])) -> Progress<()> {
        if scan.entries == 0 {
            return Progress::Done(());
        }
        let (range, mut stale) = (std::mem::replace(&mut scan.range, KeyRange::all()), Vec::new());
        let mut merge = Merge::new(self, table, &range, scan.order);
        let unknown = loop {
            let (key, value) = match merge.next() {
                None => break None,
                Some(Seen::Unknown(at)) => break Some(at),
                Some(Seen::Changed(packed)) => (packed.key(), packed.value()),
                Some(Seen::Former(packed, version)) => {
                    if self.rules.is_stale(version) {
                        stale.push(packed.key().into());
                    }
                    (packed.key(), packed.value())
                }
                Some(Seen::Stored(slot)) => {
                    if self.rules.is_stale(slot.version()) {
                        stale.push(slot.key().into());
                    }
                    (slot.key(), slot.value())
                }
            };
            each(key, value);
            if scan.count(key.len() + value.len()) {
                break None;
            }
        };
        scan.range = range;
        match unknown {
            // The upgrade of entries that are known comes first: the callback runs again in any case.
            _ if !stale.is_empty() => Progress::Upgrade(stale),
            Some(at) => Progress::Read(scan.read_from(at)),
            None => Progress::Done(()),
        }
    }

    /// Returns the values of several keys, by `each`, in the order of the keys.
    ///
    /// # Errors
    /// Fault: oversize, if a key isn't allowed, or there are too many bytes of values.
    pub fn get_many<'k, I: Iterator<Item = &'k [u8]> + Clone>(
        &self,
        table: &EntryTable,
        list: &mut EntryList<I>,
        each: &mut impl FnMut(Option<&[u8]>),
    ) -> Result<Progress<()>, Fault> {
        let mut stale = Vec::new();
        loop {
            let mut rest = list.keys.clone();
            let Some(key) = rest.next() else { break };
            let value = match self.get(table, key)? {
                Progress::Done(value) => value,
                Progress::Upgrade(key) => {
                    stale.extend(key);
                    None
                }
                Progress::Read(_) if !stale.is_empty() => break,
                Progress::Read(_) => return Ok(Progress::Read(self.unknown(table, list.keys.clone()))),
            };
            list.bytes += value.map_or(0, <[u8]>::len);
            if list.bytes > ENTRY_BYTES_AT_ONCE_MAX {
                let most = ENTRY_BYTES_AT_ONCE_MAX;
                return Err(Fault::oversize(format!("the values of a get-many have more than {most} bytes")));
            }
            each(value);
            list.keys = rest;
        }
        Ok(if stale.is_empty() { Progress::Done(()) } else { Progress::Upgrade(stale) })
    }

    /// Returns the read of those of these keys that neither the call nor the table knows.
    pub(super) fn unknown<'k>(&self, table: &EntryTable, keys: impl Iterator<Item = &'k [u8]>) -> StoreRead {
        let is_unknown = |key: &&[u8]| {
            check_key(key).is_ok() && self.changes.get(key).is_none() && self.find(table, key) == Found::Unknown
        };
        // Each repetition looks at a bounded number of keys, so that the operation takes O(n log n) in all.
        StoreRead::Keys(keys.take(4 * KEYS_AT_ONCE).filter(is_unknown).take(KEYS_AT_ONCE).map(Into::into).collect())
    }
}
