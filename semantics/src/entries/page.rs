//! A page of the table: neighbouring slots in the order of their keys.

use std::ops::Range;

use super::key::common_prefix;
use super::slot::Slot;

/// Neighbouring slots, in order. A page of a table has at least one.
///
/// A search first compares heads: the four bytes of each key after the prefix that all keys of the page have. The heads
/// are next to each other. A comparison of whole keys would cost two cache misses each, and a binary search needs six.
#[derive(Clone, Debug, Default)]
pub(super) struct Page {
    slots: Vec<Slot>,
    heads: Vec<u32>,
    /// The length of a prefix that all keys have.
    prefix: usize,
    /// The index of the last insertion.
    inserted: usize,
}

/// The most slots of a page: an insertion moves at most 1.8 KiB.
pub(super) const SLOTS_MAX: usize = 64;

/// The number of slots by which a page grows. Doubling would leave a quarter of the slots' memory unused.
const GROWTH: usize = 8;

/// A page with fewer slots is merged with the next one, if both together have at most [`MERGED_MAX`].
pub(super) const MERGED_BELOW: usize = SLOTS_MAX / 4;
pub(super) const MERGED_MAX: usize = SLOTS_MAX / 4 * 3;

/// Returns the four bytes of a key after a prefix. In the order of their keys, the heads don't fall.
#[inline]
fn head(key: &[u8], prefix: usize) -> u32 {
    let rest = key.get(prefix..).unwrap_or_default();
    let bytes = rest.first_chunk().copied().unwrap_or_else(|| {
        let mut bytes = [0; 4];
        bytes[..rest.len()].copy_from_slice(rest);
        bytes
    });
    u32::from_be_bytes(bytes)
}

impl Page {
    pub(super) fn of(slot: Slot) -> Self {
        let mut page = Self::default();
        page.push(0, slot);
        page
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether the heads are those of the keys. With other heads, each search would be slow, but correct.
    #[cfg(test)]
    pub(super) fn has_heads_of_keys(&self) -> bool {
        self.prefix <= self.longest_prefix()
            && self.heads.iter().copied().eq(self.slots.iter().map(|slot| head(slot.key(), self.prefix)))
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    #[inline]
    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Whether the slot at this index has this key. It looks at the head first, because the keys of other slots may not be
    /// in the CPU's cache.
    #[inline]
    pub(super) fn has(&self, at: usize, key: &[u8]) -> bool {
        self.heads.get(at) == Some(&head(key, self.prefix)) && self.slots[at].key() == key
    }

    /// Returns the index of a key, or the index at which it belongs.
    #[inline]
    pub(super) fn find(&self, key: &[u8]) -> Result<usize, usize> {
        let head = head(key, self.prefix);
        let from = self.heads.partition_point(|other| *other < head);
        let same = self.heads[from..].iter().take_while(|other| **other == head).count();
        let at = match self.search(key, from..from + same) {
            Ok(at) => return Ok(at),
            Err(at) => at,
        };
        // A key without the prefix can have any head.
        let is_after = at == 0 || self.slots[at - 1].key() < key;
        let is_before = self.slots.get(at).is_none_or(|slot| key < slot.key());
        if is_after && is_before { Err(at) } else { self.search(key, 0..self.slots.len()) }
    }

    fn search(&self, key: &[u8], range: Range<usize>) -> Result<usize, usize> {
        let start = range.start;
        let found = self.slots[range].binary_search_by(|slot| slot.key().cmp(key));
        found.map(|at| start + at).map_err(|at| start + at)
    }

    /// Replaces a slot by another one with the same key. Returns the one before.
    #[inline]
    pub(super) fn replace(&mut self, at: usize, slot: Slot) -> Slot {
        std::mem::replace(&mut self.slots[at], slot)
    }

    /// Inserts a slot. If the page is full, the page is split, and the slots after the split are returned.
    ///
    /// Keys that are inserted in order, up or down, leave full pages: if an insertion follows the last one, it splits the
    /// page there, and not in the middle.
    pub(super) fn insert(&mut self, at: usize, slot: Slot) -> Option<Self> {
        if self.slots.len() < SLOTS_MAX {
            self.push(at, slot);
            return None;
        }
        let is_in_order = at == self.inserted || at == self.inserted + 1;
        let split = if is_in_order { at } else { SLOTS_MAX / 2 };
        let (slots, heads) = (self.slots.split_off(split), self.heads.split_off(split));
        let mut right = Self { slots, heads, ..*self };
        if at > split || at == SLOTS_MAX {
            right.push(at - split, slot);
        } else {
            self.push(at, slot);
        }
        for page in [&mut *self, &mut right] {
            let longest = page.longest_prefix();
            if longest != page.prefix {
                page.set_prefix(longest);
            }
        }
        self.shrink_to_growth();
        Some(right)
    }

    fn push(&mut self, at: usize, slot: Slot) {
        if self.slots.len() == self.slots.capacity() {
            self.slots.reserve_exact(GROWTH);
            self.heads.reserve_exact(GROWTH);
        }
        let common = self.slots.first().map_or(slot.key().len(), |first| common_prefix(first.key(), slot.key()));
        self.heads.insert(at, head(slot.key(), self.prefix));
        self.slots.insert(at, slot);
        self.inserted = at;
        if common < self.prefix || self.slots.len() == 1 {
            self.set_prefix(common);
        }
    }

    fn set_prefix(&mut self, prefix: usize) {
        self.prefix = prefix;
        self.heads.clear();
        self.heads.extend(self.slots.iter().map(|slot| head(slot.key(), prefix)));
    }

    /// Returns the length of the longest prefix that all keys have: the first and the last key have it.
    fn longest_prefix(&self) -> usize {
        let ends = self.slots.first().zip(self.slots.last());
        ends.map_or(0, |(first, last)| common_prefix(first.key(), last.key()))
    }

    pub(super) fn remove(&mut self, at: usize) -> Slot {
        self.heads.remove(at);
        let slot = self.slots.remove(at);
        self.shrink();
        slot
    }

    /// Removes the slots of a range of indices that `keep` refuses. `keep` gets the slot before, if the page has one, and
    /// the slot.
    pub(super) fn retain(&mut self, range: Range<usize>, mut keep: impl FnMut(Option<&Slot>, &Slot) -> bool) {
        let (mut end, all) = (range.start, range.end);
        for at in range {
            let before = end.checked_sub(1).map(|before| &self.slots[before]);
            if keep(before, &self.slots[at]) {
                self.slots.swap(end, at);
                self.heads.swap(end, at);
                end += 1;
            }
        }
        self.slots.drain(end..all);
        self.heads.drain(end..all);
        self.shrink();
    }

    /// Appends the slots of the next page.
    pub(super) fn append(&mut self, mut next: Self) {
        if self.slots.is_empty() {
            *self = next;
            return;
        }
        self.slots.reserve_exact(next.slots.len());
        self.slots.append(&mut next.slots);
        self.heads.reserve_exact(next.heads.len());
        self.heads.append(&mut next.heads);
        // The heads of the other page can have another prefix.
        self.set_prefix(self.longest_prefix());
    }

    /// Gives memory back after removals, so that a table isn't larger than its entries.
    fn shrink(&mut self) {
        if self.slots.capacity() > self.slots.len() + 2 * GROWTH {
            self.shrink_to_growth();
        }
    }

    fn shrink_to_growth(&mut self) {
        self.slots.shrink_to(self.slots.len() + GROWTH);
        self.heads.shrink_to(self.heads.len() + GROWTH);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Packed;
    use super::*;

    fn page(keys: &[&[u8]]) -> Page {
        let mut page = Page::default();
        for key in keys {
            let at = page.find(key).unwrap_or_else(|at| at);
            page.push(at, Slot::present(Packed::pack(key, b""), 0, false, 0));
        }
        page
    }

    #[test]
    fn a_key_is_found_with_and_without_the_prefix_of_its_page() {
        let keys: [&[u8]; 9] = [b"k/", b"k/\0", b"k/\0\0", b"k/a", b"k/a\0", b"k/abcd", b"k/abcdX", b"k/abcdY", b"k/b"];
        let page = page(&keys);
        assert_eq!(page.prefix, 2);
        let others: [&[u8]; 11] =
            [b"", b"a", b"k", b"k.", b"k/\0\0\0", b"k/abcdXX", b"k/abc", b"k/abce", b"k0", b"l/abcd", b"\xff\xff\xff"];
        for key in keys.iter().chain(&others) {
            assert_eq!(page.find(key), keys.binary_search(key), "{key:?}");
        }
    }

    #[test]
    fn the_prefix_follows_the_keys() {
        let mut page = page(&[b"key/1"]);
        assert_eq!(page.prefix, 5);
        let slot = |key: &[u8]| Slot::present(Packed::pack(key, b""), 0, false, 0);
        page.push(1, slot(b"key/2"));
        assert_eq!(page.prefix, 4);
        page.push(2, slot(b"l"));
        assert_eq!((page.prefix, page.find(b"key/2"), page.find(b"l")), (0, Ok(1), Ok(2)));
        page.remove(2);
        page.append(self::page(&[b"key/3", b"key/4"]));
        assert_eq!((page.prefix, page.find(b"key/3"), page.find(b"key/5")), (4, Ok(2), Err(4)));
    }
    #[test]
    fn a_split_finds_the_prefix_of_each_half() {
        let keys: Vec<_> =
            ["a", "k"].iter().flat_map(|letter| (0..32).map(move |n| format!("{letter}/{n:02}"))).collect();
        let mut left = page(&keys.iter().map(String::as_bytes).collect::<Vec<_>>());
        let right = left.insert(40, Slot::present(Packed::pack(b"k/071", b""), 0, false, 0)).expect("a full page");
        assert_eq!([(left.len(), left.prefix), (right.len(), right.prefix)], [(32, 2), (33, 2)]);
        assert!(left.has_heads_of_keys() && right.has_heads_of_keys());
        assert_eq!((left.find(b"a/31"), right.find(b"k/071"), right.find(b"k/31")), (Ok(31), Ok(8), Ok(32)));
    }
}
