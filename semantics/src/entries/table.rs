//! The entries of a topic that are in memory.

use std::collections::btree_map::Range;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included, Unbounded};

use super::bound::PageBound;
use super::key::separator;
use super::packed::Packed;
use super::page::{MERGED_BELOW, MERGED_MAX, Page};
use super::slot::{Slot, Stamp, State};

/// The entries of a topic that are in memory, by their keys.
///
/// The table of a memory room is *complete*: it has all entries. The table of a durable room is a cache of the stored
/// entries. Each of its slots says whether the gap after it is complete: if so, no stored key lies between this slot and
/// the next one. So the table knows that a key is absent, and a scan needs no read of the store. In
/// addition to entries, it has slots for keys that are absent, and slots that only end a gap.
///
/// A slot is *dirty* if the store doesn't have it yet. It stays in the table until it is stored. A clean slot equals the
/// store, and can be evicted.
///
/// The table is a B+ tree of two levels: a map of pages, and up to 64 slots in each page. A slot has 28 bytes with its
/// head, and its key and value are one allocation. The map's key of a page is a lower bound of the keys in the page; the
/// first is empty.
#[derive(Clone, Debug)]
pub struct EntryTable {
    pub(super) pages: BTreeMap<PageBound, Page>,
    /// Whether the gap before the first slot is complete.
    pub(super) before_first: bool,
    pub(super) is_complete: bool,
    pub(super) now: Stamp,
    pub(super) held: TableBytes,
    /// The keys of the dirty slots.
    pub(super) dirty: BTreeSet<Box<[u8]>>,
}

/// The size of a table. Bytes are those of keys and values, and 64 for each slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableBytes {
    /// All slots.
    pub slots: usize,
    /// Bytes of the slots that can be evicted. In a complete table, those of all slots.
    pub clean_bytes: usize,
    /// Bytes of the slots that aren't stored yet.
    pub dirty_bytes: usize,
}

/// The table's knowledge of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// There is an entry.
    Entry {
        /// The version that wrote it.
        version: u32,
        /// Its value.
        value: &'a [u8],
    },
    /// There is no entry with this key.
    Absent,
    /// The key has to be read from the store.
    Unknown,
}

impl TableBytes {
    pub(super) fn add(&mut self, slot: &Slot) {
        self.slots += 1;
        *self.bytes_of(slot) += slot.weight();
    }

    pub(super) fn remove(&mut self, slot: &Slot) {
        self.slots -= 1;
        *self.bytes_of(slot) -= slot.weight();
    }

    fn bytes_of(&mut self, slot: &Slot) -> &mut usize {
        if slot.is_dirty() { &mut self.dirty_bytes } else { &mut self.clean_bytes }
    }
}

impl EntryTable {
    /// Returns the table of a memory room, which has no entry yet.
    #[must_use]
    pub fn complete() -> Self {
        Self::new(true)
    }

    /// Returns the table of a durable room, which knows nothing yet.
    #[must_use]
    pub fn cache() -> Self {
        Self::new(false)
    }

    fn new(is_complete: bool) -> Self {
        let (pages, dirty, held) = (BTreeMap::new(), BTreeSet::new(), TableBytes::default());
        Self { pages, before_first: is_complete, is_complete, now: 0, held, dirty }
    }

    /// Whether it has all entries of the topic.
    #[must_use]
    #[inline]
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Sets the stamp of the slots that are used from now on.
    pub fn set_now(&mut self, now: Stamp) {
        self.now = now;
    }

    /// Returns its size.
    #[must_use]
    pub fn bytes(&self) -> TableBytes {
        self.held
    }

    /// Looks a key up.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Found<'_> {
        let (slot, is_known) = self.slot_or_gap(key);
        match slot.map(|slot| (slot, slot.state())) {
            Some((slot, State::Present)) => {
                self.touch(slot);
                Found::Entry { version: slot.version(), value: slot.value() }
            }
            Some((slot, State::Absent)) => {
                self.touch(slot);
                Found::Absent
            }
            None if is_known => Found::Absent,
            Some((_, State::Bound)) | None => Found::Unknown,
        }
    }

    /// Writes an entry, or without a version deletes it. `packed` has the key, and the new value. If it `is_stored`, the
    /// slot is clean. Returns the entry before, if the table had it.
    ///
    /// In a complete table, every slot is stored in this sense.
    pub fn write(&mut self, packed: Packed, version: Option<u32>, is_stored: bool) -> Option<(Packed, u32)> {
        let is_dirty = !(is_stored || self.is_complete);
        let before = match version {
            Some(version) => self.put(Slot::present(packed, version, is_dirty, self.now)),
            None if is_dirty => self.put(Slot::absent(packed, is_dirty, self.now)),
            None => self.delete(packed),
        };
        before.filter(|slot| slot.state() == State::Present).map(Slot::into_parts)
    }

    /// Puts a slot in the place of the one with the same key, which is returned, or inserts it.
    pub(super) fn put(&mut self, slot: Slot) -> Option<Slot> {
        self.put_with(slot, |before, _| before)
    }

    /// Puts a slot in the place of the one with the same key, or inserts it. `done` gets the slot before, and the new one.
    pub(super) fn put_with<R>(&mut self, slot: Slot, done: impl FnOnce(Option<Slot>, &Slot) -> R) -> R {
        self.note_dirty(slot.key(), slot.is_dirty());
        self.held.add(&slot);
        slot.set_gap(self.gap_before(slot.key()));
        let Some((_, page)) = self.pages.range_mut::<[u8], _>((Unbounded, Included(slot.key()))).next_back() else {
            let result = done(None, &slot);
            self.pages.insert(PageBound::FIRST, Page::of(slot));
            return result;
        };
        match page.find(slot.key()) {
            Ok(at) => {
                slot.set_gap(page.slots()[at].gap_is_complete());
                let before = page.replace(at, slot);
                self.held.remove(&before);
                done(Some(before), &page.slots()[at])
            }
            Err(at) => {
                let result = done(None, &slot);
                if let Some(right) = page.insert(at, slot) {
                    let left = page.slots().last().map(Slot::key).unwrap_or_default();
                    let bound = PageBound::new(separator(left, right.slots()[0].key()));
                    self.pages.insert(bound, right);
                }
                result
            }
        }
    }

    /// Deletes a key whose deletion is stored. If the gaps on its two sides differ, its slot remains as their border.
    fn delete(&mut self, packed: Packed) -> Option<Slot> {
        if !self.is_complete {
            let (slot, _) = self.slot_or_gap(packed.key());
            if slot?.gap_is_complete() != self.gap_before(packed.key()) {
                return self.put(Slot::absent(packed, false, self.now));
            }
        }
        self.remove(packed.key())
    }

    /// Removes a slot. The caller has made sure that the slot before has the right mark for the gap after it.
    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Slot> {
        let (bound, page) = self.pages.range_mut::<[u8], _>((Unbounded, Included(key))).next_back()?;
        let slot = page.remove(page.find(key).ok()?);
        self.held.remove(&slot);
        if slot.is_dirty() {
            self.dirty.remove(key);
        }
        if page.len() < MERGED_BELOW {
            let bound = bound.clone();
            self.tidy(bound.as_bytes());
        }
        Some(slot)
    }

    /// Merges a page that is small with the next one, and removes the last page if it is empty.
    pub(super) fn tidy(&mut self, bound: &[u8]) {
        let Some(slots) = self.pages.get(bound).map(Page::len) else { return };
        if slots >= MERGED_BELOW {
            return;
        }
        let next = self.pages.range::<[u8], _>((Excluded(bound), Unbounded)).next();
        match next.map(|(bound, next)| (bound, next.len())) {
            Some((next_bound, more)) if slots == 0 || slots + more <= MERGED_MAX => {
                let next_bound = next_bound.clone();
                let next = self.pages.remove(next_bound.as_bytes());
                if let (Some(page), Some(next)) = (self.pages.get_mut(bound), next) {
                    page.append(next);
                }
            }
            None if slots == 0 => drop(self.pages.remove(bound)),
            _ => {}
        }
    }

    /// Returns the slot of a key. If there is none, also returns whether the gap around the key is complete.
    #[inline]
    pub(super) fn slot_or_gap(&self, key: &[u8]) -> (Option<&Slot>, bool) {
        let Some((bound, page)) = self.up_to(key).next_back() else { return (None, self.before_first) };
        match page.find(key) {
            Ok(at) => (Some(&page.slots()[at]), false),
            Err(_) if self.is_complete => (None, true),
            Err(0) => (None, self.gap_before_page(bound.as_bytes())),
            Err(at) => (None, page.slots()[at - 1].gap_is_complete()),
        }
    }

    /// Whether the gap that ends before this key is complete.
    pub(super) fn gap_before(&self, key: &[u8]) -> bool {
        if self.is_complete {
            return true;
        }
        let Some((bound, page)) = self.up_to(key).next_back() else { return self.before_first };
        match page.find(key).unwrap_or_else(|at| at) {
            0 => self.gap_before_page(bound.as_bytes()),
            at => page.slots()[at - 1].gap_is_complete(),
        }
    }

    pub(super) fn bound_after(&self, bound: &[u8]) -> Option<PageBound> {
        self.pages.range::<[u8], _>((Excluded(bound), Unbounded)).next().map(|(bound, _)| bound.clone())
    }

    pub(super) fn gap_before_page(&self, bound: &[u8]) -> bool {
        let before = self.pages.range::<[u8], _>((Unbounded, Excluded(bound))).next_back();
        before.and_then(|(_, page)| page.slots().last()).map_or(self.before_first, Slot::gap_is_complete)
    }

    /// Sets the mark of the gap before a page.
    pub(super) fn set_gap_before_page(&mut self, bound: &[u8], is_complete: bool) {
        let before = self.pages.range::<[u8], _>((Unbounded, Excluded(bound))).next_back();
        match before.and_then(|(_, page)| page.slots().last()) {
            Some(slot) => slot.set_gap(is_complete),
            None => self.before_first = is_complete,
        }
    }

    /// Returns the pages up to the one that a key belongs to.
    #[inline]
    pub(super) fn up_to(&self, key: &[u8]) -> Range<'_, PageBound, Page> {
        self.pages.range::<[u8], _>((Unbounded, Included(key)))
    }

    /// Marks a slot as used. A complete table evicts nothing.
    #[inline]
    pub(super) fn touch(&self, slot: &Slot) {
        if !self.is_complete {
            slot.touch(self.now);
        }
    }

    fn note_dirty(&mut self, key: &[u8], is_dirty: bool) {
        if is_dirty {
            if !self.dirty.contains(key) {
                self.dirty.insert(key.into());
            }
        } else if !self.dirty.is_empty() {
            self.dirty.remove(key);
        }
    }
}
