//! Adds stored entries to the table.

use std::ops::Bound::{Included, Unbounded};

use super::key::{KeyRange, successor};
use super::packed::Packed;
use super::page::MERGED_BELOW;
use super::read::{Order, RangeRead};
use super::slot::{Slot, State};
use super::table::EntryTable;
use crate::Fault;

/// An entry that was read from the store.
#[derive(Clone, Debug)]
pub struct StoredEntry {
    packed: Packed,
    version: u32,
}

impl StoredEntry {
    /// An entry, with the version that wrote it.
    ///
    /// # Errors
    /// Fault: oversize, if the key is empty or too long.
    pub fn new(key: &[u8], version: u32, value: &[u8]) -> Result<Self, Fault> {
        Ok(Self { packed: Packed::new(key, value)?, version })
    }

    /// Returns the bytes of its key and its value.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.packed.bytes()
    }

    /// Returns its key and value.
    #[must_use]
    pub fn into_packed(self) -> Packed {
        self.packed
    }
}

impl EntryTable {
    /// Adds the result of a read of one key: the entry, or none if there is none.
    ///
    /// It changes nothing that the table knows already: a dirty slot is newer than the store, and a clean one equals it.
    pub fn fill_key(&mut self, key: &[u8], entry: Option<StoredEntry>) {
        let (slot, is_known) = self.slot_or_gap(key);
        if slot.map_or(is_known, |slot| slot.state() != State::Bound) {
            return;
        }
        self.put(match entry {
            Some(StoredEntry { packed, version }) => Slot::present(packed, version, false, self.now),
            None => Slot::absent(Packed::pack(key, &[]), false, self.now),
        });
    }

    /// Adds the result of a read of a range: its entries in the order of the read. `has_ended` says that the read has
    /// reached the end of the range. Otherwise, it ended early at one of its limits.
    pub fn fill(&mut self, read: &RangeRead, entries: Vec<StoredEntry>, has_ended: bool) {
        let Some(range) = covered(read, &entries, has_ended).filter(|range| !range.is_empty()) else { return };
        if self.is_complete {
            return;
        }
        self.mark_border(&range.start, false);
        if let Some(end) = &range.end {
            self.mark_border(end, true);
        }
        for StoredEntry { packed, version } in entries {
            let (slot, _) = self.slot_or_gap(packed.key());
            // A dirty slot is newer than the store, and a clean entry equals it.
            if slot.is_none_or(|slot| !slot.is_dirty() && slot.state() != State::Present) {
                self.put(Slot::present(packed, version, false, self.now));
            }
        }
        self.complete_gaps(&range);
    }

    /// Makes a slot at the border of a range, if it lies in a gap that isn't complete.
    fn mark_border(&mut self, key: &[u8], is_end: bool) {
        let (slot, is_known) = self.slot_or_gap(key);
        if slot.is_some() || is_known || key.is_empty() {
            return;
        }
        let packed = Packed::pack(key, &[]);
        // The start is in the range: if the range has no entry with this key, the key is absent.
        self.put(if is_end { Slot::bound(packed, self.now) } else { Slot::absent(packed, false, self.now) });
    }

    /// Marks all gaps of a range as complete, and removes the slots that are no longer the border of two different gaps.
    fn complete_gaps(&mut self, range: &KeyRange) {
        if range.start.is_empty() {
            self.before_first = true;
        }
        let mut is_known = self.gap_before(&range.start);
        let (first, end) = (self.bound_of(&range.start), range.end.as_deref());
        let until = end.map_or(Unbounded, Included);
        let pages = self.pages.range((Included(first.as_bytes()), until));
        let bounds: Vec<_> = pages.map(|(bound, _)| bound.clone()).collect();
        let mut small = Vec::new();
        for bound in bounds {
            let Some(page) = self.pages.get_mut(bound.as_bytes()) else { continue };
            let from = page.find(&range.start).unwrap_or_else(|at| at);
            let last = end.map_or(Err(page.len()), |end| page.find(end));
            let (in_range, is_at_end) = (last.unwrap_or_else(|at| at), last.is_ok());
            let mut at = from;
            let held = &mut self.held;
            page.retain(from..in_range + usize::from(is_at_end), |_, slot| {
                let (is_inside, state) = (at < in_range, slot.state());
                at += 1;
                if is_inside {
                    slot.set_gap(true);
                    if state == State::Bound {
                        slot.set_absent();
                    }
                }
                let is_border = !(is_known && slot.gap_is_complete());
                is_known = true;
                let keeps = slot.is_dirty() || is_border || slot.state() != State::Absent;
                if !keeps {
                    held.remove(slot);
                }
                keeps
            });
            if page.len() < MERGED_BELOW {
                small.push(bound);
            }
        }
        // From the last to the first, so that an empty page is merged with one that isn't empty.
        small.iter().rev().for_each(|bound| self.tidy(bound.as_bytes()));
    }
}

/// Returns the part of a range that a read has covered.
fn covered(read: &RangeRead, entries: &[StoredEntry], has_ended: bool) -> Option<KeyRange> {
    let range = read.range.clone();
    if has_ended {
        return Some(range);
    }
    let last = entries.last()?.packed.key();
    Some(match read.order {
        Order::Forward => KeyRange { end: Some(successor(last)), ..range },
        Order::Backward => KeyRange { start: last.into(), ..range },
    })
}
