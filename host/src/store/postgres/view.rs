//! A snapshot: the rows of the database now, with the values that were replaced since laid over them.

use std::sync::Arc;

use bytes::Bytes;

use super::readers::Readers;
use super::window::{TooOld, Window};
use crate::store::engine::{Direction, EngineError, EngineFuture, Rows, ScanLimit, Snapshot, Span};
use crate::store::overlay::merged;

pub(super) struct View {
    window: Arc<Window>,
    readers: Readers,
    batch: u64,
}

impl View {
    pub(super) fn begin(window: &Arc<Window>, readers: &Readers) -> Self {
        Self { batch: window.begin_snapshot(), window: Arc::clone(window), readers: readers.clone() }
    }

    async fn value(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let value = self.readers.get(key).await?;
        Ok(self.window.add(&Bytes::copy_from_slice(key), value, self.batch)?)
    }

    async fn scanned(&self, span: &Span, direction: Direction, limit: ScanLimit) -> Result<Rows, EngineError> {
        let (mut rows, mut bytes) = (Vec::new(), 0_usize);
        let mut unread = Some(span.clone()).filter(|span| !span.is_empty());
        while let Some(reading) = unread {
            // One row more than the limit, to know whether there is one.
            let left = ScanLimit {
                rows: limit.rows.saturating_add(1).saturating_sub(rows.len()).max(1),
                bytes: limit.bytes.saturating_sub(bytes),
            };
            let stored = self.readers.scan(&reading, direction, left).await?;
            let known;
            (known, unread) = stored.known(reading, direction);
            // After the read: whatever was written while it was made is in the window.
            let lately = self.window.within(&known, direction, self.batch)?;
            for row in merged(stored.rows.into_iter(), lately.into_iter(), direction) {
                bytes = bytes.saturating_add(row.0.len() + row.1.len());
                if !rows.is_empty() && (rows.len() >= limit.rows || bytes > limit.bytes) {
                    return Ok(Rows { rows, ended: false });
                }
                rows.push(row);
            }
        }
        Ok(Rows { rows, ended: true })
    }

    async fn fetched(&self, keys: Vec<Bytes>) -> Result<(), EngineError> {
        let missing = self.window.missing(keys.iter());
        if missing.is_empty() {
            return Ok(());
        }
        let mut found = self.readers.get_many(&missing).await?;
        for key in missing {
            let value = found.remove(&key);
            self.window.add(&key, value, self.batch)?;
        }
        Ok(())
    }
}

impl Snapshot for View {
    fn get<'a>(&'a self, key: &'a [u8]) -> EngineFuture<'a, Option<Bytes>> {
        match self.window.get(key, self.batch) {
            Ok(Some(value)) => Box::pin(std::future::ready(Ok(value))),
            Ok(None) => Box::pin(self.value(key)),
            Err(error) => Box::pin(std::future::ready(Err(error.into()))),
        }
    }

    fn scan<'a>(&'a self, span: &'a Span, direction: Direction, limit: ScanLimit) -> EngineFuture<'a, Rows> {
        Box::pin(self.scanned(span, direction, limit))
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn fetch(&self, keys: Vec<Bytes>) -> EngineFuture<'_, ()> {
        Box::pin(self.fetched(keys))
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.window.end_snapshot(self.batch);
    }
}

impl From<TooOld> for EngineError {
    fn from(TooOld: TooOld) -> Self {
        Self::new("too much was written while this was being read; read it again")
    }
}
