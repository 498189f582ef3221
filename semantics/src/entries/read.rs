//! The reads of the store that an operation needs.

use super::key::KeyRange;

/// The order of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From the first key to the last.
    Forward,
    /// From the last key to the first.
    Backward,
}

/// The result of an operation on the entries of a call.
///
/// If the operation needs a read, the caller reads the store. Then it takes the lock of the table, adds the result to the
/// table, and calls the operation again *before it releases the lock*. So no eviction comes in between, and each repetition
/// gets further. The operation continues where it stopped: it doesn't return an entry again. With a complete table and
/// known sums, an operation never needs a read.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress<T> {
    /// The operation is done.
    Done(T),
    /// This has to be read from the store first.
    Read(StoreRead),
    /// The entries of these keys have to be upgraded, because another version of the plugin wrote them. The caller ends
    /// the callback, adds the upgraded entries to the overlay, and runs the callback again. The operation may have returned
    /// some entries already, which are void.
    Upgrade(Vec<Box<[u8]>>),
}

/// A read of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreRead {
    /// The entries of these keys, for [`EntryTable::fill_key`](super::EntryTable::fill_key). The caller reads at least the
    /// first. It may stop when it has 1 MiB of values, because the operation asks again for the others.
    Keys(Vec<Box<[u8]>>),
    /// The entries of a range, for [`EntryTable::fill`](super::EntryTable::fill).
    Range(RangeRead),
    /// The sums of the topic, for [`Overlay::set_sums`](super::Overlay::set_sums). The first write of a call needs them.
    Sums,
}

/// A read of a range of the store. It returns at least one entry, unless the range has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeRead {
    /// The range.
    pub range: KeyRange,
    /// The order in which to read it.
    pub order: Order,
    /// The most entries to read.
    pub entries: usize,
    /// The most bytes of keys and values to read. The first entry may be larger.
    pub bytes: usize,
}

/// The most keys of one [`StoreRead::Keys`]. After each read, the operation looks for unknown keys again. If it looked
/// through all keys of a call each time, this would be quadratic.
pub(super) const KEYS_AT_ONCE: usize = 64;

impl<T> Progress<T> {
    /// Changes the result of an operation that is done.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Progress<U> {
        match self {
            Self::Done(result) => Progress::Done(change(result)),
            Self::Read(read) => Progress::Read(read),
            Self::Upgrade(keys) => Progress::Upgrade(keys),
        }
    }

    /// Returns the result of an operation that is done.
    pub fn done(self) -> Option<T> {
        match self {
            Self::Done(result) => Some(result),
            Self::Read(_) | Self::Upgrade(_) => None,
        }
    }
}
