//! Evicts entries from the table of a durable room.

use std::ops::Bound::{Included, Unbounded};

use super::bound::PageBound;
use super::key::KeyRange;
use super::page::MERGED_BELOW;
use super::slot::{Slot, Stamp, State};
use super::table::EntryTable;

/// The result of one step of an eviction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// The slots that were evicted.
    pub slots: usize,
    /// Their bytes, with 64 for each.
    pub bytes: usize,
    /// The key from which the next step continues. None at the end of the table.
    pub next: Option<Box<[u8]>>,
}

impl EntryTable {
    /// Evicts the clean slots that have at least this age. It begins at the key `from`, and looks at `slots` slots, or up
    /// to a page more.
    pub fn evict(&mut self, age: Stamp, from: &[u8], slots: usize) -> Evicted {
        let (range, now) = (KeyRange { start: from.into(), end: None }, self.now);
        self.evict_where(&range, slots, |slot| slot.age(now) >= age)
    }

    /// Evicts the clean slots of a range, whenever they were used: the entries of a read that a full cache doesn't keep.
    /// It takes O(log n + k).
    pub fn evict_range(&mut self, range: &KeyRange) -> Evicted {
        if range.is_empty() { Evicted::default() } else { self.evict_where(range, usize::MAX, |_| true) }
    }

    /// Calls `each` with the age and the bytes of each clean slot, from a key on, for `slots` slots, or up to a page more.
    /// Returns the key from which to continue.
    pub fn ages(&self, from: &[u8], slots: usize, mut each: impl FnMut(Stamp, usize)) -> Option<Box<[u8]>> {
        if self.is_complete {
            return None;
        }
        let (first, mut seen) = (self.bound_of(from), 0);
        for (bound, page) in self.pages.range((Included(first.as_bytes()), Unbounded)) {
            if seen >= slots {
                return Some(bound.as_bytes().into());
            }
            let at = page.find(from).unwrap_or_else(|at| at);
            for slot in page.slots()[at..].iter().filter(|slot| !slot.is_dirty()) {
                each(slot.age(self.now), slot.weight());
            }
            seen += page.len() - at;
        }
        None
    }

    fn evict_where(&mut self, range: &KeyRange, slots: usize, is_evicted: impl Fn(&Slot) -> bool) -> Evicted {
        let mut evicted = Evicted::default();
        if self.is_complete {
            return evicted;
        }
        let (mut at, mut seen, mut small) = (self.bound_of(&range.start), 0, Vec::new());
        loop {
            // The gap before a page is a mark of the page before, or of the table.
            let mut gap_before = self.gap_before_page(at.as_bytes());
            let was_known = gap_before;
            let Some(page) = self.pages.get_mut(at.as_bytes()) else { break };
            let from = page.find(&range.start).unwrap_or_else(|at| at);
            let to = range.end.as_deref().map_or(page.len(), |end| page.find(end).unwrap_or_else(|at| at));
            let (held, mut bytes, mut count) = (&mut self.held, 0, 0);
            page.retain(from..to, |before, slot| {
                if slot.is_dirty() || !is_evicted(slot) {
                    return true;
                }
                let is_known = before.map_or(gap_before, Slot::gap_is_complete);
                // Without the slot, the gaps on its two sides are one. Its key is known only if there is no entry with it.
                let stays_known = is_known && slot.gap_is_complete() && slot.state() == State::Absent;
                match before {
                    Some(before) => before.set_gap(stays_known),
                    None => gap_before = stays_known,
                }
                held.remove(slot);
                bytes += slot.weight();
                count += 1;
                false
            });
            seen += to - from;
            evicted.bytes += bytes;
            evicted.slots += count;
            let left = page.len();
            if gap_before != was_known {
                self.set_gap_before_page(at.as_bytes(), gap_before);
            }
            let is_inside = |next: &PageBound| range.end().is_none_or(|end| next.as_bytes() < end);
            let next = self.pages.bound_after(at.as_bytes()).filter(is_inside);
            if left == 0 && !at.as_bytes().is_empty() {
                // At once, so that the page before an empty page isn't searched for again and again.
                self.pages.remove(at.as_bytes());
            } else if count > 0 && left < MERGED_BELOW {
                small.push(at);
            }
            match next {
                Some(next) if seen < slots => at = next,
                next => {
                    evicted.next = next.map(|next| next.as_bytes().into());
                    break;
                }
            }
        }
        // After the loop, because a merge removes the next page.
        small.iter().rev().for_each(|bound| self.tidy(bound.as_bytes()));
        evicted
    }
}
