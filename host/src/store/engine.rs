//! The interface of the storage engine: snapshots to read from, and batches that are applied completely or not at all.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::future::ready;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::backing::PageReads;
use super::log::LogCounts;
use super::postgres::PostgresCounts;
use super::revision::Revision;

/// The result of an engine's operation. It is ready at once if the data is in memory.
pub type EngineFuture<'a, T> = BoxFuture<'a, Result<T, EngineError>>;

/// A key and its value.
pub type Row = (Bytes, Bytes);

/// A batch of writes by key: the new value, or none to delete the key.
pub type Writes = BTreeMap<Bytes, Option<Bytes>>;

/// A map from ordered keys to bytes, with one keyspace for the whole host.
///
/// The committer owns it, so batches are applied one after another. All others read snapshots.
pub trait Engine: Send + 'static {
    /// Returns a snapshot of all that was applied so far. Later batches don't change it.
    fn snapshot(&mut self) -> EngineFuture<'_, Arc<dyn Snapshot>>;

    /// Applies all writes, or none. When the future is ready, they survive a crash.
    ///
    /// # Errors
    /// If it fails, none of the writes is stored. After some failures, such as a failed sync, the engine can't know that.
    /// Then it applies nothing more until it is reopened, and after that all of the writes are stored, or none.
    fn apply<'a>(&'a mut self, writes: &'a Writes) -> EngineFuture<'a, ()>;

    /// Reopens the engine after a failure, and writes to check that it works. All applied batches are there then, and a
    /// failed batch is there completely or not at all.
    ///
    /// # Errors
    /// If the engine still doesn't work. Existing snapshots continue to work as before, and the caller may try again.
    fn reopen(&mut self) -> EngineFuture<'_, ()> {
        Box::pin(ready(Err(EngineError::new("it can't be reopened"))))
    }

    /// Prepares the end, and applies nothing more. Without it, the next opening has more to do, but nothing is lost.
    ///
    /// # Errors
    /// If the engine fails.
    fn close(&mut self) -> EngineFuture<'_, ()> {
        Box::pin(ready(Ok(())))
    }

    /// Gives up its files and their locks, so that another process can open them. It applies nothing more until it is
    /// [reclaimed](Self::reclaim). An engine in memory has no files.
    ///
    /// # Errors
    /// If it can't be closed in order. Then it still has its files.
    fn release(&mut self) -> EngineFuture<'_, ()> {
        Box::pin(ready(Ok(())))
    }

    /// Opens its files again after a [release](Self::release). Another process may have written to them meanwhile.
    ///
    /// # Errors
    /// If another process has them, or they can't be opened. The caller may try again.
    fn reclaim(&mut self) -> EngineFuture<'_, ()> {
        Box::pin(ready(Ok(())))
    }

    /// Returns the numbers about its log. An engine in memory has no log.
    fn log_counts(&self) -> Arc<LogCounts> {
        Arc::default()
    }

    /// Returns the counter of the pages that it reads. An engine in memory reads none.
    fn page_reads(&self) -> Arc<PageReads> {
        Arc::default()
    }

    /// Returns the numbers about the connections to a database, if the engine is on one.
    fn postgres_counts(&self) -> Option<Arc<PostgresCounts>> {
        None
    }
}

/// The engine's content at one moment.
///
/// A read must not block the thread that polls it, because that thread may serve connections. If a read has to wait for a
/// disk, it does so on another thread, and wakes the reader.
pub trait Snapshot: Send + Sync {
    /// Returns the value of a key.
    fn get<'a>(&'a self, key: &'a [u8]) -> EngineFuture<'a, Option<Bytes>>;

    /// Returns the rows of a span, from its beginning or from its end. At least one row, unless the span has none.
    fn scan<'a>(&'a self, span: &'a Span, direction: Direction, limit: ScanLimit) -> EngineFuture<'a, Rows>;

    /// Whether a read waits for another machine, so that reading some keys at once with [`fetch`](Self::fetch) saves time.
    fn is_remote(&self) -> bool {
        false
    }

    /// Reads some keys into memory, for the reads that follow.
    fn fetch(&self, _keys: Vec<Bytes>) -> EngineFuture<'_, ()> {
        Box::pin(ready(Ok(())))
    }

    /// The revision that was read, of a snapshot that learns it with its first read: a draft's view of a store that several hosts
    /// write. None before that read.
    fn since(&self) -> Option<Revision> {
        None
    }
}

/// A range of keys: `from` is included, `until` is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first key that may be in the span.
    pub from: Bytes,
    /// The first key after the span.
    pub until: Bytes,
}

/// The order in which rows are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// From the least key to the greatest.
    #[default]
    Forward,
    /// From the greatest key to the least.
    Backward,
}

/// The most that one scan reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanLimit {
    /// Rows.
    pub rows: usize,
    /// Bytes of keys and values. A single row may be larger.
    pub bytes: usize,
}

/// The rows that a scan read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// The rows, in the scan's direction.
    pub rows: Vec<Row>,
    /// Whether these are all rows of the span. Otherwise the rest comes after the last one, in the scan's direction.
    pub ended: bool,
}

/// Why an engine's operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineError {
    what: Arc<str>,
    state: ErrorState,
}

/// What an error says about the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ErrorState {
    /// It may work for others.
    Works,
    /// Nothing works until it is reopened.
    Broken,
    /// It works, and what was read is outdated.
    Outdated,
}

impl Span {
    /// Whether the span can't contain any key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.from >= self.until
    }

    /// Splits the span after a key, in the given direction: the part up to and with the key, and the part after it.
    pub(super) fn split_after(&self, key: &Bytes, direction: Direction) -> (Self, Self) {
        let (from, until) = (self.from.clone(), self.until.clone());
        let middle = if direction == Direction::Forward { successor(key) } else { key.clone() };
        let (low, high) = (Self { from, until: middle.clone() }, Self { from: middle, until });
        if direction == Direction::Forward { (low, high) } else { (high, low) }
    }
}

/// Returns the least key that is greater than this one.
pub(super) fn successor(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next.into()
}

impl Direction {
    /// Compares two keys in this direction.
    pub(super) fn order(self, one: &Bytes, other: &Bytes) -> Ordering {
        match self {
            Self::Forward => one.cmp(other),
            Self::Backward => other.cmp(one),
        }
    }
}

impl Rows {
    /// Splits the span that was read: the part up to the last row, and the rest. If the rows didn't reach the end, other rows can
    /// be merged with these only in the first part, because more rows may follow.
    pub(super) fn known(&self, span: Span, direction: Direction) -> (Span, Option<Span>) {
        match self.rows.last() {
            Some((last, _)) if !self.ended => {
                let (known, beyond) = span.split_after(last, direction);
                (known, Some(beyond))
            }
            _ => (span, None),
        }
    }

    /// Collects rows up to the limit, but at least one.
    ///
    /// # Errors
    /// Those of the rows.
    pub(super) fn gather<E>(rows: impl Iterator<Item = Result<Row, E>>, limit: ScanLimit) -> Result<Self, E> {
        let (mut taken, mut bytes) = (Vec::new(), 0_usize);
        for row in rows {
            let row = row?;
            bytes = bytes.saturating_add(row.0.len() + row.1.len());
            if !taken.is_empty() && (taken.len() >= limit.rows || bytes > limit.bytes) {
                return Ok(Self { rows: taken, ended: false });
            }
            taken.push(row);
        }
        Ok(Self { rows: taken, ended: true })
    }
}

impl EngineError {
    /// Creates an error with a message.
    pub fn new(what: impl fmt::Display) -> Self {
        Self { what: what.to_string().into(), state: ErrorState::Works }
    }

    /// Creates an error after which nothing works until the engine is reopened.
    pub fn broken(what: impl fmt::Display) -> Self {
        Self { state: ErrorState::Broken, ..Self::new(what) }
    }

    /// Creates the error of a read that doesn't fit the reads before it, because another host has written in between. The call
    /// can run again.
    #[must_use]
    pub fn outdated() -> Self {
        Self { state: ErrorState::Outdated, ..Self::new("another host has changed what was read before") }
    }

    /// Whether nothing works until the engine is reopened.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.state == ErrorState::Broken
    }

    /// Whether the call that has read can run again.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.state == ErrorState::Outdated
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for EngineError {}
