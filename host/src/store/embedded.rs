//! The engine that stands in one file: redb.

use std::fmt;
use std::future::ready;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use redb::{
    AccessGuard, Builder, Database, DatabaseError, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable,
    StorageBackend, StorageError, TableDefinition,
};

use super::engine::{Direction, Doing, Engine, EngineError, Most, Row, Rows, Snapshot, Span, Writes};

type Key = &'static [u8];

/// All rows stand in one table: the spaces of the store keep them apart.
const ROWS: TableDefinition<'_, Key, Key> = TableDefinition::new("rows");

/// A redb database.
///
/// A batch is one transaction with one sync: redb finds by checksums whether the last one was written whole. What it
/// spares then it pays after a crash, when the whole file is read once.
pub struct Embedded {
    database: Database,
}

/// Why a database couldn't be opened.
#[derive(Debug)]
pub enum OpeningError {
    /// Another process, or this one, has it open.
    InUse,
    /// It can't be read or written, or is none.
    Failed(EngineError),
}

struct View {
    /// Keeps its transaction alive.
    rows: ReadOnlyTable<Key, Key>,
}

impl Embedded {
    /// Opens a file, or makes it a database if it is empty or missing. A crash while it is made leaves one that isn't taken.
    ///
    /// # Errors
    /// Where it is in use, or is no such file.
    pub fn open(path: &Path, cache_bytes: usize) -> Result<Self, OpeningError> {
        Self::prepared(builder(cache_bytes).create(path)?)
    }

    /// Opens what a backend holds, for tests.
    ///
    /// # Errors
    /// As [`Embedded::open`].
    pub fn over(backend: impl StorageBackend, cache_bytes: usize) -> Result<Self, OpeningError> {
        Self::prepared(builder(cache_bytes).create_with_backend(backend)?)
    }

    /// With its table, which readers can't make.
    fn prepared(database: Database) -> Result<Self, OpeningError> {
        let embedded = Self { database };
        if embedded.view().is_err() {
            embedded.write(&Writes::new()).map_err(OpeningError::Failed)?;
        }
        Ok(embedded)
    }

    fn view(&self) -> Result<View, EngineError> {
        let reading = self.database.begin_read().map_err(failed)?;
        Ok(View { rows: reading.open_table(ROWS).map_err(failed)? })
    }

    fn write(&self, writes: &Writes) -> Result<(), EngineError> {
        let mut writing = self.database.begin_write().map_err(failed)?;
        writing.set_durability(Durability::Immediate).map_err(failed)?;
        let mut rows = writing.open_table(ROWS).map_err(failed)?;
        for (key, value) in writes {
            match value {
                Some(value) => rows.insert(key.as_ref(), value.as_ref()).map_err(failed)?,
                None => rows.remove(key.as_ref()).map_err(failed)?,
            };
        }
        drop(rows);
        writing.commit().map_err(failed)
    }
}

fn builder(cache_bytes: usize) -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(cache_bytes);
    builder.set_repair_callback(|session| {
        tracing::info!(
            "the store wasn't closed when its host ended; reading it through: {:.0} %",
            session.progress() * 100.0
        );
    });
    builder
}

impl Engine for Embedded {
    fn snapshot(&mut self) -> Doing<'_, Arc<dyn Snapshot>> {
        let view = self.view().map(|view| Arc::new(view) as Arc<dyn Snapshot>);
        Box::pin(ready(view))
    }

    fn apply<'a>(&'a mut self, writes: &'a Writes) -> Doing<'a, ()> {
        // In the task that waits for it, which is one that may block.
        Box::pin(async move { self.write(writes) })
    }
}

impl Snapshot for View {
    fn get<'a>(&'a self, key: &'a [u8]) -> Doing<'a, Option<Bytes>> {
        let value = ReadableTable::get(&self.rows, key);
        let value = value.map(|value| value.map(|value| copied(&value))).map_err(failed);
        Box::pin(ready(value))
    }

    fn scan<'a>(&'a self, span: &'a Span, direction: Direction, most: Most) -> Doing<'a, Rows> {
        Box::pin(ready(self.scanned(span, direction, most).map_err(failed)))
    }
}

impl View {
    fn scanned(&self, span: &Span, direction: Direction, most: Most) -> Result<Rows, StorageError> {
        let bounds = (Bound::Included(span.from.as_ref()), Bound::Excluded(span.until.as_ref()));
        let range = ReadableTable::range::<&[u8]>(&self.rows, bounds)?;
        let row =
            |row: Result<(AccessGuard<'_, Key>, AccessGuard<'_, Key>), StorageError>| -> Result<Row, StorageError> {
                row.map(|(key, value)| (copied(&key), copied(&value)))
            };
        match direction {
            Direction::Forward => Rows::gather(range.map(row), most),
            Direction::Backward => Rows::gather(range.rev().map(row), most),
        }
    }
}

/// What is in the way, in words that say what to do.
fn failed(error: impl Into<redb::Error>) -> EngineError {
    match error.into() {
        redb::Error::PreviousIo => {
            EngineError::new("it failed earlier, and so its file isn't touched any more; restart the host")
        }
        error => EngineError::new(error),
    }
}

fn copied(guard: &AccessGuard<'_, Key>) -> Bytes {
    Bytes::copy_from_slice(guard.value())
}

impl From<DatabaseError> for OpeningError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::InUse,
            other => Self::Failed(EngineError::new(other)),
        }
    }
}

impl fmt::Display for OpeningError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => f.write_str("another process has it open"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpeningError {}
