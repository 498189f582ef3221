//! The rows of the batches in a log file, in memory.
//!
//! Every version of a row stays until the whole table is dropped, which is after a checkpoint. So a snapshot is the number of a
//! batch: taking one costs nothing, and later batches don't change it. The log file bounds the number of versions.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;

use super::record::LogRow;
use crate::store::engine::{Direction, Span};
use crate::store::versions::{Versions, version_at};

/// The rows, by key. The lock is there because snapshots read on other threads while the committer adds batches. Nobody holds it
/// for more than [`AT_ONCE`] rows. That is a few microseconds, so a thread that serves clients may wait for it.
#[derive(Debug, Default)]
pub(in crate::store) struct Table {
    rows: RwLock<BTreeMap<Bytes, Versions>>,
}

/// The most rows that are added or read under one lock.
const AT_ONCE: usize = 64;

/// The bytes that a row takes in memory, without those of its key and value.
pub(in crate::store) const ROW: usize = 128;

/// The rows of a span after a batch, in a direction.
pub(in crate::store) struct Cursor<'a> {
    table: &'a Table,
    batch: u64,
    direction: Direction,
    /// Rows that were read, and weren't returned yet.
    ready: std::vec::IntoIter<LogRow>,
    /// The rest of the span.
    rest: Option<(Bound<Bytes>, Bound<Bytes>)>,
}

impl Table {
    /// Adds the rows of a batch. It must be later than all batches before. No snapshot sees the batch yet, so the rows can be
    /// added in parts.
    pub(in crate::store) fn add(&self, batch: u64, rows: impl Iterator<Item = LogRow>) {
        let mut rows = rows.peekable();
        while rows.peek().is_some() {
            let mut table = self.rows.write().unwrap_or_else(PoisonError::into_inner);
            for (key, value) in rows.by_ref().take(AT_ONCE) {
                table.entry(key).or_default().push((batch, value));
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Returns the value of a key after a batch. Returns none if no batch in this table has written the key up to then, and
    /// `Some(None)` if the last one of them has deleted it.
    ///
    /// The value is a copy. A slice would keep its whole record in memory, for as long as the caller keeps the value.
    pub(in crate::store) fn get(&self, key: &[u8], batch: u64) -> Option<Option<Bytes>> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        version_at(rows.get(key)?, batch).map(|value| value.as_deref().map(Bytes::copy_from_slice))
    }

    /// Returns the rows of a span after a batch. They are slices of the records.
    pub(in crate::store) fn within(&self, span: &Span, direction: Direction, batch: u64) -> Cursor<'_> {
        let bounds = (Bound::Included(span.from.clone()), Bound::Excluded(span.until.clone()));
        let rest = Some(bounds).filter(|_| !span.is_empty());
        Cursor { table: self, batch, direction, ready: Vec::new().into_iter(), rest }
    }

    /// Returns the last version of all rows, in the order of their keys.
    pub(in crate::store) fn latest(&self) -> Cursor<'_> {
        let rest = Some((Bound::Unbounded, Bound::Unbounded));
        Cursor { table: self, batch: u64::MAX, direction: Direction::Forward, ready: Vec::new().into_iter(), rest }
    }
}

impl Cursor<'_> {
    /// Reads more rows. Some of the keys that it passes may have no version for this batch.
    fn read(&mut self, (from, until): (Bound<Bytes>, Bound<Bytes>)) {
        let rows = self.table.rows.read().unwrap_or_else(PoisonError::into_inner);
        let mut range = rows.range((from.clone(), until.clone()));
        let (mut found, mut passed) = (Vec::new(), None);
        for _ in 0..AT_ONCE {
            let next = match self.direction {
                Direction::Forward => range.next(),
                Direction::Backward => range.next_back(),
            };
            passed = next.map(|(key, _)| key);
            let Some((key, versions)) = next else { break };
            if let Some(value) = version_at(versions, self.batch) {
                found.push((key.clone(), value.clone()));
            }
        }
        self.rest = passed.map(|key| match self.direction {
            Direction::Forward => (Bound::Excluded(key.clone()), until),
            Direction::Backward => (from, Bound::Excluded(key.clone())),
        });
        drop(rows);
        self.ready = found.into_iter();
    }
}

impl Iterator for Cursor<'_> {
    type Item = LogRow;

    fn next(&mut self) -> Option<LogRow> {
        loop {
            if let Some(row) = self.ready.next() {
                return Some(row);
            }
            let rest = self.rest.take()?;
            self.read(rest);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn key(n: usize) -> Bytes {
        format!("{n:04}").into()
    }

    fn rows(keys: impl Iterator<Item = usize>, value: &'static str) -> impl Iterator<Item = LogRow> {
        keys.map(move |n| (key(n), Some(value.into())))
    }

    #[test]
    fn a_cursor_returns_the_rows_of_its_batch_in_both_directions() {
        // More rows than one lock reads. Every second key is written later, and every third one is deleted later.
        let (table, count) = (Table::default(), 5 * AT_ONCE);
        table.add(1, rows((0..count).filter(|n| n % 2 == 0), "1"));
        table.add(2, rows((0..count).filter(|n| n % 2 == 1), "2"));
        table.add(3, (0..count).filter(|n| n % 3 == 0).map(|n| (key(n), None)));
        let at = |n: usize, batch: u64| match batch {
            3 if n.is_multiple_of(3) => Some(None),
            _ if n.is_multiple_of(2) => (batch >= 1).then(|| Some("1".into())),
            _ => (batch >= 2).then(|| Some("2".into())),
        };
        for batch in 0..4 {
            assert!((0..count).all(|n| table.get(&key(n), batch) == at(n, batch)));
            for (from, until) in [(0, count), (0, 0), (3, 3 + AT_ONCE), (7, 6), (count, count + 9), (1, 2)] {
                let mut expected: Vec<LogRow> =
                    (from..until.min(count)).filter_map(|n| Some((key(n), at(n, batch)?))).collect();
                let span = Span { from: key(from), until: key(until) };
                let read = |direction| table.within(&span, direction, batch).collect::<Vec<_>>();
                assert_eq!(read(Direction::Forward), expected, "{from}..{until} at {batch}");
                expected.reverse();
                assert_eq!(read(Direction::Backward), expected, "{from}..{until} at {batch}");
            }
        }
        assert!(table.latest().eq((0..count).map(|n| (key(n), at(n, 3).unwrap()))));
    }

    #[test]
    fn a_value_that_was_read_does_not_keep_the_record_in_memory() {
        let (table, record) = (Table::default(), Bytes::from(vec![7; 1000]));
        table.add(1, std::iter::once((record.slice(..1), Some(record.slice(1..3)))));
        let read = table.get(&[7], 1).unwrap().unwrap();
        drop(table);
        assert!(record.is_unique() && read.len() == 2);
    }
}
