//! The entries of a map, one after another.

use std::fmt;

use serde::de::DeserializeOwned;

use super::RoomMap;
use crate::Error;
use crate::bindings::bennu::channel::entries::{Entry, Order};
use crate::host::entries;
use crate::key_range::{KeyRange, Page};

/// Entries of a [`RoomMap`], each with its name. They are read on demand, up to 1,000 entries or 1 MiB at a time. If the
/// callback changes entries meanwhile, the iterator may return them as they were before. A value that isn't a `T` is an
/// error; with `?`, it is a fault `failed`.
#[must_use]
pub struct Entries<T> {
    map: RoomMap<T>,
    page: std::vec::IntoIter<Entry>,
    /// The part that isn't read yet.
    rest: KeyRange,
}

impl<T> Entries<T> {
    pub(super) fn of(map: &RoomMap<T>, rest: KeyRange) -> Self {
        Self { map: RoomMap::new(map.prefix), page: Vec::new().into_iter(), rest }
    }

    /// Returns the entries from the last to the first. Call it before the first entry is read.
    pub fn backward(mut self) -> Self {
        self.rest.is_backward = true;
        self
    }

    /// Returns at most this number of entries. Call it before the first entry is read. Unlike
    /// [`take`](Iterator::take), it also limits the number of entries that the host copies.
    pub fn limit(mut self, limit: usize) -> Self {
        self.rest.limit = self.rest.limit.min(limit);
        self
    }

    /// Reads the next entries from the host.
    fn read_page(&mut self) {
        let Some(Page { start, end, limit }) = self.rest.next_page() else { return };
        let order = if self.rest.is_backward { Order::Backward } else { Order::Forward };
        let page = entries::scan(start, end, order, limit);
        self.rest.advance(page.len(), page.last().map(|last| &*last.key));
        self.page = page.into_iter();
    }
}

impl<T: DeserializeOwned> Iterator for Entries<T> {
    type Item = Result<(String, T), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.len() == 0 {
            self.read_page();
        }
        let Entry { key, value } = self.page.next()?;
        Some(self.map.read(key, &value))
    }
}

impl<T> fmt::Debug for Entries<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Entries").field("rest", &self.rest).finish_non_exhaustive()
    }
}
