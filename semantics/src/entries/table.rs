//! The entries of a topic that are in memory.

use std::collections::BTreeSet;

use super::bound::PageBound;
use super::key::separator;
use super::packed::Packed;
use super::page::{MERGED_BELOW, MERGED_MAX, Page};
use super::pages::{Pages, Place};
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
/// head, and its key and value are one allocation.
#[derive(Clone, Debug)]
pub struct EntryTable {
    pub(super) pages: Pages,
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
        let (pages, dirty, held) = (Pages::default(), BTreeSet::new(), TableBytes::default());
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
        let place = match self.pages.search(slot.key()) {
            Ok(place) => {
                slot.set_gap(self.pages.slot(place).gap_is_complete());
                let page = self.pages.page_mut(place);
                let before = page.replace(place.slot, slot);
                self.held.remove(&before);
                return done(Some(before), &page.slots()[place.slot]);
            }
            Err(place) => place,
        };
        slot.set_gap(self.gap_before_place(place, slot.key()));
        let result = done(None, &slot);
        let Some(place) = place else {
            self.pages.insert(PageBound::FIRST, Page::of(slot));
            return result;
        };
        let page = self.pages.page_mut(place);
        if let Some(right) = page.insert(place.slot, slot) {
            let left = page.slots().last().map(Slot::key).unwrap_or_default();
            let bound = PageBound::new(separator(left, right.slots()[0].key()));
            self.pages.insert(bound, right);
        }
        result
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
        let place = self.pages.search(key).ok()?;
        let page = self.pages.page_mut(place);
        let slot = page.remove(place.slot);
        let is_small = page.len() < MERGED_BELOW;
        self.held.remove(&slot);
        if slot.is_dirty() {
            self.dirty.remove(key);
        }
        if is_small {
            self.tidy(self.bound_of(key).as_bytes());
        }
        Some(slot)
    }

    /// Merges a page that is small with the next one, and removes the last page if it is empty.
    pub(super) fn tidy(&mut self, bound: &[u8]) {
        let Some(slots) = self.pages.get(bound).map(Page::len) else { return };
        if slots >= MERGED_BELOW {
            return;
        }
        let next = self.pages.bound_after(bound);
        let more = next.as_ref().and_then(|next| self.pages.get(next.as_bytes())).map_or(0, Page::len);
        match next {
            Some(next_bound) if slots == 0 || slots + more <= MERGED_MAX => {
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
        match self.pages.search(key) {
            Ok(place) => (Some(self.pages.slot(place)), false),
            Err(place) => (None, self.gap_before_place(place, key)),
        }
    }

    /// Whether the gap that ends before this key is complete.
    pub(super) fn gap_before(&self, key: &[u8]) -> bool {
        self.is_complete || self.gap_before_place(self.pages.search(key).map_or_else(|place| place, Some), key)
    }

    /// Whether the gap before a place is complete: that of this key, or the one to which this key belongs.
    fn gap_before_place(&self, place: Option<Place>, key: &[u8]) -> bool {
        if self.is_complete {
            return true;
        }
        match place {
            None => self.before_first,
            Some(Place { slot: 0, .. }) => self.gap_before_page(self.bound_of(key).as_bytes()),
            Some(Place { page, slot }) => self.pages.slot(Place { page, slot: slot - 1 }).gap_is_complete(),
        }
    }

    /// Whether the gap before a page is complete.
    pub(super) fn gap_before_page(&self, bound: &[u8]) -> bool {
        let before = self.pages.page_before(bound).and_then(|page| page.slots().last());
        before.map_or(self.before_first, Slot::gap_is_complete)
    }

    /// Sets the mark of the gap before a page.
    pub(super) fn set_gap_before_page(&mut self, bound: &[u8], is_complete: bool) {
        match self.pages.page_before(bound).and_then(|page| page.slots().last()) {
            Some(slot) => slot.set_gap(is_complete),
            None => self.before_first = is_complete,
        }
    }

    /// Returns the bound of the page that a key belongs to.
    pub(super) fn bound_of(&self, key: &[u8]) -> PageBound {
        self.pages.page_of(key).map_or(PageBound::FIRST, |(bound, _)| bound.clone())
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
