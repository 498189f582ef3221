//! What a draft reads of a ledger: the latest rows, as long as they are of one moment.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::readers::Readers;
use crate::store::engine::{Direction, EngineError, EngineFuture, Rows, ScanLimit, Snapshot, Span, successor};
use crate::store::footprint::Footprint;
use crate::store::revision::Revision;

/// A view of a ledger. Its reads are made one after another.
pub(super) struct LedgerView {
    readers: Readers,
    /// None for a view that shows the latest rows, whatever it has shown before.
    plugin: Option<Box<str>>,
    spans_most: usize,
    read: Mutex<ReadSoFar>,
}

/// What was read, and the revision that has all of it.
#[derive(Default)]
struct ReadSoFar {
    since: Option<Revision>,
    spans: Footprint,
}

impl LedgerView {
    pub(super) fn of_plugin(readers: &Readers, plugin: &str, spans_most: usize) -> Self {
        Self { readers: readers.clone(), plugin: Some(plugin.into()), spans_most, read: Mutex::default() }
    }

    pub(super) fn latest(readers: &Readers) -> Self {
        Self { readers: readers.clone(), plugin: None, spans_most: 0, read: Mutex::default() }
    }

    /// No change can panic half-way, so a poisoned lock is still valid.
    fn read(&self) -> MutexGuard<'_, ReadSoFar> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a span was read at a revision. If that isn't the one of the reads before, these must be as they were.
    ///
    /// # Errors
    /// If they were changed in between, or the database doesn't answer.
    async fn note(&self, plugin: &str, revision: Revision, span: Span) -> Result<(), EngineError> {
        let before = {
            let mut read = self.read();
            let is_same = *read.since.get_or_insert(revision) == revision;
            if is_same {
                read.spans.add(span, self.spans_most);
                return Ok(());
            }
            ReadSoFar { since: read.since, spans: std::mem::take(&mut read.spans) }
        };
        let since = before.since.unwrap_or(revision);
        // An earlier revision: the database has lost commits, and the rows may be others.
        let is_same = since < revision && self.readers.look(plugin, since, &before.spans).await?;
        let mut read = self.read();
        read.spans = before.spans;
        if !is_same {
            return Err(EngineError::outdated());
        }
        // The reads before were still right later than at this revision, so they were at this revision.
        read.since = Some(revision);
        read.spans.add(span, self.spans_most);
        Ok(())
    }

    async fn value(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let Some(plugin) = &self.plugin else { return self.readers.get(key).await };
        let (revision, value) = self.readers.get_of(plugin, key).await?;
        let span = Span { from: Bytes::copy_from_slice(key), until: successor(key) };
        self.note(plugin, revision, span).await?;
        Ok(value)
    }

    async fn scanned(&self, span: &Span, direction: Direction, limit: ScanLimit) -> Result<Rows, EngineError> {
        if span.is_empty() {
            return Ok(Rows { rows: Vec::new(), ended: true });
        }
        let Some(plugin) = &self.plugin else { return self.readers.scan(span, direction, limit).await };
        let (revision, rows) = self.readers.scan_of(plugin, span, direction, limit).await?;
        // Only as far as it was read: what follows the last row may change.
        let (known, _) = rows.known(span.clone(), direction);
        self.note(plugin, revision, known).await?;
        Ok(rows)
    }
}

impl Snapshot for LedgerView {
    fn get<'a>(&'a self, key: &'a [u8]) -> EngineFuture<'a, Option<Bytes>> {
        Box::pin(self.value(key))
    }

    fn scan<'a>(&'a self, span: &'a Span, direction: Direction, limit: ScanLimit) -> EngineFuture<'a, Rows> {
        Box::pin(self.scanned(span, direction, limit))
    }

    fn since(&self) -> Option<Revision> {
        self.read().since
    }
}
