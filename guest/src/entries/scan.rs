//! The entries of a map, one after another.

use std::fmt;

use serde::de::DeserializeOwned;

use super::RoomMap;
use super::packed::Page;
use crate::Error;
use crate::bindings::bennu::channel::entries::Order;
use crate::host::entries;
use crate::key_range::{self, KeyRange};

/// The bytes of keys and values after which the host ends a scan early.
const FULL_PAGE: usize = 1 << 20;

/// Entries of a [`RoomMap`], each with its name. They are read on demand, up to 1,000 entries or 1 MiB at a time. If the
/// callback changes entries meanwhile, the iterator may return them as they were before. A value that isn't a `T` is an
/// error; with `?`, it is a fault `failed`.
#[must_use]
pub struct Entries<T> {
    map: RoomMap<T>,
    pages: Pages,
    page: Page,
}

/// The pages of a range, which are read one after another.
pub(super) struct Pages {
    /// The part that isn't read yet.
    rest: KeyRange,
    /// The most entries of the last read.
    wanted: u32,
}

impl Pages {
    pub(super) fn new(rest: KeyRange) -> Self {
        Self { rest, wanted: 0 }
    }

    /// Reads the next page from the host. `before` is the page before, whose entries have been taken.
    pub(super) fn next(&mut self, before: &Page) -> Option<Page> {
        if self.wanted > 0 {
            let (taken, last) = before.taken();
            // A shorter page is the last one.
            let is_full = taken >= self.wanted as usize || before.bytes() >= FULL_PAGE;
            self.rest.advance(taken, is_full.then_some(last));
        }
        let key_range::Page { start, end, limit } = self.rest.next_page()?;
        let order = if self.rest.is_backward { Order::Backward } else { Order::Forward };
        let page = Page::new(entries::scan(start, end, order, limit));
        self.wanted = limit;
        Some(page)
    }
}

impl<T> Entries<T> {
    pub(super) fn of(map: &RoomMap<T>, rest: KeyRange) -> Self {
        Self { map: map.copy(), pages: Pages::new(rest), page: Page::default() }
    }

    /// Returns the entries from the last to the first. Call it before the first entry is read.
    pub fn backward(mut self) -> Self {
        self.pages.rest.is_backward = true;
        self
    }

    /// Returns at most this number of entries. Call it before the first entry is read. Unlike
    /// [`take`](Iterator::take), it also limits the number of entries that the host copies.
    pub fn limit(mut self, limit: usize) -> Self {
        self.pages.rest.limit = self.pages.rest.limit.min(limit);
        self
    }
}

impl<T: DeserializeOwned> Iterator for Entries<T> {
    type Item = Result<(String, T), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_at_end() {
            self.page = self.pages.next(&self.page)?;
        }
        let (key, value) = self.page.take()?;
        Some(self.map.read(key, value).map(|(name, value)| (name.to_owned(), value)))
    }
}

impl<T> fmt::Debug for Entries<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Entries").field("rest", &self.pages.rest).finish_non_exhaustive()
    }
}
