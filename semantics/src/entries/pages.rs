//! The pages of a table, by the bounds of their keys.

use std::cell::Cell;
use std::collections::{BTreeMap, btree_map};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::ops::RangeBounds;

use super::bound::PageBound;
use super::page::Page;
use super::slot::Slot;

/// The pages of a table. Each has a number, and its bound is a lower bound of its keys; the first bound is empty.
///
/// The pages remember the place of the last key. A callback usually reads a key, then writes it, and then the commit
/// replaces it; or it does so with many keys in their order. All of these searches but the first one are one comparison.
#[derive(Clone, Debug, Default)]
pub(super) struct Pages {
    numbers: BTreeMap<PageBound, u32>,
    /// The pages by their numbers. A number without a page has an empty page.
    pages: Vec<Page>,
    /// The numbers without a page.
    free: Vec<u32>,
    last: Cell<Place>,
}

/// The place of a slot: the number of its page, and its index there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) page: u32,
    pub(super) slot: usize,
}

/// The pages whose bounds are in a range.
#[derive(Clone, Default)]
pub(super) struct PageRange<'a> {
    numbers: btree_map::Range<'a, PageBound, u32>,
    pages: &'a [Page],
}

impl Pages {
    /// Returns the number of pages.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Returns the pages with their bounds, in order.
    #[cfg(test)]
    pub(super) fn iter(&self) -> PageRange<'_> {
        self.range(..)
    }

    /// Returns the pages whose bounds are in a range.
    pub(super) fn range<'a>(&'a self, bounds: impl RangeBounds<[u8]>) -> PageRange<'a> {
        PageRange { numbers: self.numbers.range::<[u8], _>(bounds), pages: &self.pages }
    }

    /// Returns the page that a key belongs to, with its bound. There is one if there is any page.
    pub(super) fn page_of(&self, key: &[u8]) -> Option<(&PageBound, &Page)> {
        self.range((Unbounded, Included(key))).next_back()
    }

    /// Returns the page before the one with this bound.
    pub(super) fn page_before(&self, bound: &[u8]) -> Option<&Page> {
        self.range((Unbounded, Excluded(bound))).next_back().map(|(_, page)| page)
    }

    /// Returns the bound of the page after the one with this bound.
    pub(super) fn bound_after(&self, bound: &[u8]) -> Option<PageBound> {
        self.range((Excluded(bound), Unbounded)).next().map(|(bound, _)| bound.clone())
    }

    /// Returns the page with this bound.
    pub(super) fn get(&self, bound: &[u8]) -> Option<&Page> {
        self.numbers.get(bound).map(|number| &self.pages[index(*number)])
    }

    /// Returns the page with this bound.
    pub(super) fn get_mut(&mut self, bound: &[u8]) -> Option<&mut Page> {
        self.numbers.get(bound).map(|number| &mut self.pages[index(*number)])
    }

    /// Returns the page of a place.
    #[inline]
    pub(super) fn page_mut(&mut self, place: Place) -> &mut Page {
        &mut self.pages[index(place.page)]
    }

    /// Returns the slot of a place that a search has found.
    #[inline]
    pub(super) fn slot(&self, place: Place) -> &Slot {
        &self.pages[index(place.page)].slots()[place.slot]
    }

    /// Returns the place of a key. The error is the place at which the key belongs, if there is any page.
    #[inline]
    pub(super) fn search(&self, key: &[u8]) -> Result<Place, Option<Place>> {
        if let Some(place) = self.near_last(key) {
            self.last.set(place);
            return Ok(place);
        }
        let before = self.numbers.range::<[u8], _>((Unbounded, Included(key))).next_back();
        let Some((_, &page)) = before else { return Err(None) };
        match self.pages[index(page)].find(key) {
            Ok(slot) => {
                self.last.set(Place { page, slot });
                Ok(Place { page, slot })
            }
            Err(slot) => Err(Some(Place { page, slot })),
        }
    }

    /// Returns the place of a key, if it is the last place or the one after it. The place can have another slot by now, or
    /// none: only the slot that is there now counts.
    #[inline]
    fn near_last(&self, key: &[u8]) -> Option<Place> {
        let Place { page, slot } = self.last.get();
        let found = self.pages.get(index(page))?;
        let slot = [slot, slot + 1].into_iter().find(|slot| found.has(*slot, key))?;
        Some(Place { page, slot })
    }

    /// Adds a page.
    pub(super) fn insert(&mut self, bound: PageBound, page: Page) {
        let number = match self.free.pop() {
            Some(number) => {
                self.pages[index(number)] = page;
                number
            }
            None => {
                let number = u32::try_from(self.pages.len()).expect("a table of so many pages fits into no memory");
                self.pages.push(page);
                number
            }
        };
        self.numbers.insert(bound, number);
    }

    /// Removes the page with this bound.
    pub(super) fn remove(&mut self, bound: &[u8]) -> Option<Page> {
        let number = self.numbers.remove(bound)?;
        if self.numbers.is_empty() {
            // So an empty table has no memory.
            let mut pages = std::mem::take(self).pages;
            return Some(pages.swap_remove(index(number)));
        }
        self.free.push(number);
        Some(std::mem::take(&mut self.pages[index(number)]))
    }
}

impl<'a> PageRange<'a> {
    fn page(&self, (bound, number): (&'a PageBound, &'a u32)) -> (&'a PageBound, &'a Page) {
        (bound, &self.pages[index(*number)])
    }
}

impl<'a> Iterator for PageRange<'a> {
    type Item = (&'a PageBound, &'a Page);

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.numbers.next()?;
        Some(self.page(next))
    }
}

impl DoubleEndedIterator for PageRange<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let next = self.numbers.next_back()?;
        Some(self.page(next))
    }
}

#[inline]
fn index(number: u32) -> usize {
    number as usize
}
