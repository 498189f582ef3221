//! A walk over the slots of a range of the table.

use std::ops::Bound::{Excluded, Unbounded};
use std::slice::Iter;

use super::key::{KeyRange, successor};
use super::pages::PageRange;
use super::read::Order;
use super::slot::{Slot, State};
use super::table::EntryTable;

/// A walk over the slots of a range, in an order. It ends where the table knows no further.
pub(super) struct Walk<'a> {
    table: &'a EntryTable,
    range: &'a KeyRange,
    is_empty: bool,
    order: Order,
    /// The slots of the current page that are left.
    slots: Iter<'a, Slot>,
    pages: PageRange<'a>,
    /// The last slot.
    last: Option<&'a Slot>,
    /// Forward: whether the gap after the last slot, or after the start of the range, is complete.
    is_known: bool,
}

/// One step of a walk.
#[derive(Clone, Debug)]
pub(super) enum Place<'a> {
    /// The next slot, which has an entry or the absence of one.
    Slot(&'a Slot),
    /// The table doesn't know the keys from here on. Forward, this is the first of these keys; backward, it is the first
    /// key after them, and none if they have no end.
    Unknown(Option<Box<[u8]>>),
    /// The end of the range.
    End,
}

impl<'a> Walk<'a> {
    pub(super) fn new(table: &'a EntryTable, range: &'a KeyRange, order: Order) -> Self {
        let (slots, pages, is_empty) = ([].iter(), PageRange::default(), range.is_empty());
        let mut walk = Self { table, range, is_empty, order, slots, pages, last: None, is_known: true };
        if !is_empty {
            match order {
                Order::Forward => walk.begin_forward(),
                Order::Backward => walk.begin_backward(),
            }
        }
        walk
    }

    /// Whether it goes from the first key to the last.
    pub(super) fn is_forward(&self) -> bool {
        self.order == Order::Forward
    }

    /// Returns the next step. After the end, or after unknown keys, it must not be called again.
    #[inline]
    pub(super) fn next(&mut self) -> Place<'a> {
        if self.is_empty {
            return Place::End;
        }
        match self.order {
            Order::Forward => self.next_forward(),
            Order::Backward => self.next_backward(),
        }
    }

    fn begin_forward(&mut self) {
        let (table, start) = (self.table, self.range.start());
        let end = self.range.end().map_or(Unbounded, Excluded);
        if let Some((_, page)) = table.pages.page_of(start) {
            let found = page.find(start);
            self.is_known = found.is_ok() || table.gap_before(start);
            self.slots = self.before_end(&page.slots()[found.unwrap_or_else(|at| at)..]);
        } else {
            self.is_known = table.before_first;
        }
        self.pages = table.pages.range((Excluded(start), end));
    }

    fn next_forward(&mut self) -> Place<'a> {
        if !self.is_known {
            let at = self.last.map_or_else(|| self.range.start().into(), |last| successor(last.key()));
            // The end of the range can be the first key after the last slot.
            let is_inside = self.range.end().is_none_or(|end| &*at < end);
            return if is_inside { Place::Unknown(Some(at)) } else { Place::End };
        }
        let slot = loop {
            if let Some(slot) = self.slots.next() {
                break slot;
            }
            match self.pages.next() {
                Some((_, page)) => self.slots = self.before_end(page.slots()),
                None => return Place::End,
            }
        };
        if slot.state() == State::Bound {
            return Place::Unknown(Some(slot.key().into()));
        }
        self.last = Some(slot);
        self.is_known = self.table.is_complete || slot.gap_is_complete();
        self.table.touch(slot);
        Place::Slot(slot)
    }

    /// Begins with the last page that can have keys of the range. The pages before the start of the range belong to the
    /// walk too, because the last slot before the start says whether the gap at the start is complete.
    fn begin_backward(&mut self) {
        let end = self.range.end().map_or(Unbounded, Excluded);
        self.pages = self.table.pages.range((Unbounded, end));
        if let Some((_, page)) = self.pages.next_back() {
            self.slots = self.before_end(page.slots());
        }
    }

    fn next_backward(&mut self) -> Place<'a> {
        let upper = self.last.map(Slot::key).or(self.range.end());
        if upper == Some(self.range.start()) {
            return Place::End;
        }
        let slot = loop {
            if let Some(slot) = self.slots.next_back() {
                break Some(slot);
            }
            match self.pages.next_back() {
                Some((_, page)) => self.slots = page.slots().iter(),
                None => break None,
            }
        };
        let is_known = self.table.is_complete || slot.map_or(self.table.before_first, Slot::gap_is_complete);
        if !is_known {
            return Place::Unknown(upper.map(Into::into));
        }
        // The gap after the end of another gap is never complete, so this slot has an entry, or the absence of one.
        let Some(slot) = slot.filter(|slot| slot.key() >= self.range.start()) else { return Place::End };
        self.last = Some(slot);
        self.table.touch(slot);
        Place::Slot(slot)
    }

    /// The slots of a page that are before the end of the range.
    fn before_end(&self, slots: &'a [Slot]) -> Iter<'a, Slot> {
        let is_before = |end: &[u8]| slots.last().is_none_or(|last| last.key() < end);
        match self.range.end() {
            Some(end) if !is_before(end) => slots[..slots.partition_point(|slot| slot.key() < end)].iter(),
            _ => slots.iter(),
        }
    }
}

impl EntryTable {
    /// Calls `each` with the key, the version and the value of each entry from a key on, until it returns false, or the
    /// table knows no further.
    pub fn each_from(&self, from: &[u8], mut each: impl FnMut(&[u8], u32, &[u8]) -> bool) {
        let range = KeyRange { start: from.into(), end: None };
        let mut walk = Walk::new(self, &range, Order::Forward);
        while let Place::Slot(slot) = walk.next() {
            if slot.state() == State::Present && !each(slot.key(), slot.version(), slot.value()) {
                return;
            }
        }
    }
}
