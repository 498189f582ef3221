//! What the store asks of the engine below it: snapshots to read from, and batches that are applied whole or not at all.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::future::ready;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

/// Something that an engine does. What is in memory is ready at once.
pub type EngineFuture<'a, T> = BoxFuture<'a, Result<T, EngineError>>;

/// A key and its value.
pub type Row = (Bytes, Bytes);

/// Writes that belong together, by key: the new value, or none for a key that is deleted.
pub type Writes = BTreeMap<Bytes, Option<Bytes>>;

/// Ordered keys to bytes, one keyspace for the whole host.
///
/// The task that commits owns it, so nothing is applied while something else is; everybody else has snapshots.
pub trait Engine: Send + 'static {
    /// What has been applied so far. It stays as it is whatever is applied later.
    fn snapshot(&mut self) -> EngineFuture<'_, Arc<dyn Snapshot>>;

    /// Applies all writes, or none. Once it is ready they survive a crash.
    ///
    /// If it fails, none of them is there. An engine that can't tell, as after a failed sync, applies nothing more until it
    /// is opened anew, and then all of them are there or none.
    fn apply<'a>(&'a mut self, writes: &'a Writes) -> EngineFuture<'a, ()>;

    /// Opens it anew after it failed, and writes something, to see that it works again. What was applied is there then, and of what
    /// failed all or nothing. Where this fails, snapshots go on as before, and it may be tried again.
    fn reopen(&mut self) -> EngineFuture<'_, ()> {
        Box::pin(ready(Err(EngineError::new("it can't be opened anew"))))
    }
}

/// The content at some moment.
///
/// No read may make the thread wait that polls it: connections may be served there. What has to wait for a disk does so elsewhere,
/// and wakes the reader.
pub trait Snapshot: Send + Sync {
    /// The value of a key.
    fn get<'a>(&'a self, key: &'a [u8]) -> EngineFuture<'a, Option<Bytes>>;

    /// The rows of a span, from its beginning or from its end. One row at least, unless there is none.
    fn scan<'a>(&'a self, span: &'a Span, direction: Direction, limit: ScanLimit) -> EngineFuture<'a, Rows>;
}

/// The keys from one on, up to and without another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first key that may be in it.
    pub from: Bytes,
    /// The first that isn't any more.
    pub until: Bytes,
}

/// The order in which rows are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// From the least key on.
    #[default]
    Forward,
    /// From the greatest key back.
    Backward,
}

/// How much is read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanLimit {
    /// Rows.
    pub rows: usize,
    /// Bytes of keys and values. A single row may be larger.
    pub bytes: usize,
}

/// What was read of a span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// The rows, in the order in which they were asked for.
    pub rows: Vec<Row>,
    /// Whether those are all of the span. Else the rest lies beyond the last one.
    pub ended: bool,
}

/// Why an engine couldn't do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineError {
    what: Arc<str>,
    is_broken: bool,
}

impl Span {
    /// Whether no key can be in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.from >= self.until
    }

    /// What comes of it before a key and with it, and what comes after, in that direction.
    pub(super) fn split_after(&self, key: &Bytes, direction: Direction) -> (Self, Self) {
        let (from, until) = (self.from.clone(), self.until.clone());
        let middle = if direction == Direction::Forward { successor(key) } else { key.clone() };
        let (low, high) = (Self { from, until: middle.clone() }, Self { from: middle, until });
        if direction == Direction::Forward { (low, high) } else { (high, low) }
    }
}

/// The least key that is greater.
pub(super) fn successor(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next.into()
}

impl Direction {
    /// Which of two keys comes first.
    pub(super) fn order(self, one: &Bytes, other: &Bytes) -> Ordering {
        match self {
            Self::Forward => one.cmp(other),
            Self::Backward => other.cmp(one),
        }
    }
}

impl Rows {
    /// Takes rows while there is room for them.
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
    /// An error that says so.
    pub fn new(what: impl fmt::Display) -> Self {
        Self { what: what.to_string().into(), is_broken: false }
    }

    /// An error after which nothing works until the engine is opened anew.
    pub fn broken(what: impl fmt::Display) -> Self {
        Self { is_broken: true, ..Self::new(what) }
    }

    /// Whether nothing works until the engine is opened anew.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for EngineError {}
