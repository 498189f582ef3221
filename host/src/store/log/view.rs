//! A snapshot of a store with a log: the rows of one or two tables over a view of the tree.

use std::future::ready;
use std::sync::Arc;

use bytes::Bytes;

use super::checkpoint::SharedTable;
use super::table::Cursor;
use crate::store::engine::{Direction, EngineError, EngineFuture, Rows, ScanLimit, Snapshot, Span};
use crate::store::overlay::merged;

/// A snapshot. Each layer has later rows than those below it.
pub(in crate::store) struct LayeredView {
    pub(in crate::store) active: Layer,
    /// The table that a checkpoint is writing to the tree. The view of the tree is from before.
    pub(in crate::store) frozen: Option<Layer>,
    pub(in crate::store) tree: Arc<dyn Snapshot>,
}

/// A table as it was after a batch.
pub(in crate::store) struct Layer {
    pub(in crate::store) table: Arc<SharedTable>,
    pub(in crate::store) batch: u64,
}

impl Layer {
    fn within(&self, span: &Span, direction: Direction) -> Cursor<'_> {
        self.table.rows.within(span, direction, self.batch)
    }
}

impl LayeredView {
    async fn scanned(&self, span: &Span, direction: Direction, limit: ScanLimit) -> Result<Rows, EngineError> {
        let (mut rows, mut bytes) = (Vec::new(), 0_usize);
        let mut unread = Some(span.clone()).filter(|span| !span.is_empty());
        while let Some(reading) = unread {
            // One row more than the limit, to know whether there is one.
            let left = ScanLimit {
                rows: limit.rows.saturating_add(1).saturating_sub(rows.len()).max(1),
                bytes: limit.bytes.saturating_sub(bytes),
            };
            let stored = self.tree.scan(&reading, direction, left).await?;
            let known;
            (known, unread) = stored.known(reading, direction);
            let frozen = self.frozen.as_ref().map(|layer| layer.within(&known, direction));
            let below = merged(stored.rows.into_iter(), copied(frozen.into_iter().flatten()), direction);
            for row in merged(below, copied(self.active.within(&known, direction)), direction) {
                bytes = bytes.saturating_add(row.0.len() + row.1.len());
                if !rows.is_empty() && (rows.len() >= limit.rows || bytes > limit.bytes) {
                    return Ok(Rows { rows, ended: false });
                }
                rows.push(row);
            }
        }
        Ok(Rows { rows, ended: true })
    }
}

/// Copies rows, so that they don't keep whole records in memory.
fn copied(rows: impl Iterator<Item = (Bytes, Option<Bytes>)>) -> impl Iterator<Item = (Bytes, Option<Bytes>)> {
    rows.map(|(key, value)| (Bytes::copy_from_slice(&key), value.as_deref().map(Bytes::copy_from_slice)))
}

impl Snapshot for LayeredView {
    fn get<'a>(&'a self, key: &'a [u8]) -> EngineFuture<'a, Option<Bytes>> {
        for layer in std::iter::once(&self.active).chain(&self.frozen) {
            if let Some(value) = layer.table.rows.get(key, layer.batch) {
                return Box::pin(ready(Ok(value)));
            }
        }
        self.tree.get(key)
    }

    fn scan<'a>(&'a self, span: &'a Span, direction: Direction, limit: ScanLimit) -> EngineFuture<'a, Rows> {
        Box::pin(self.scanned(span, direction, limit))
    }
}
