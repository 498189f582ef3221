//! The tree: all rows in one file, with redb. The log in front of it is in `log`.

use std::fmt;
use std::fs::OpenOptions;
use std::future::ready;
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use redb::{
    AccessGuard, Builder, Database, DatabaseError, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable,
    StorageBackend, StorageError, TableDefinition, TableError,
};

use super::backing::{Backing, PageReads, forget_cached};
use super::engine::{Direction, EngineError, EngineFuture, Row, Rows, ScanLimit, Snapshot, Span};
use super::log::{LogRow, Mark, Opening};
use super::probe::probe;
use super::reading::Readers;

type Key = &'static [u8];

/// The one table with all rows. The prefixes of the keys separate plugins and kinds (see `space`).
const ROWS: TableDefinition<'_, Key, Key> = TableDefinition::new("rows");

/// The [`Mark`] of the last batch that the rows contain: its salt and its sequence number. It has one row.
const MARK: TableDefinition<'_, (), (u64, u64)> = TableDefinition::new("log");

/// A redb database.
///
/// A transaction writes all of its rows or none. It also stores which pages are free, so that redb doesn't have to read the
/// whole file after a crash.
pub(super) struct Embedded {
    database: Arc<Database>,
    backing: Backing,
    readers: Readers,
    cache_bytes: usize,
    opener: Opener,
    reads: Arc<PageReads>,
}

/// Opens the backing of the database. It is called each time that the database is opened.
type Opener = Box<dyn Fn(Opening) -> io::Result<Backing> + Send>;

/// Writes to the database, on any thread. Nobody may write at the same time, nor reopen the database.
pub(super) struct TreeWriter(Arc<Database>);

/// Why a database couldn't be opened.
#[derive(Debug)]
pub enum OpeningError {
    /// This process or another one has it open.
    InUse,
    /// It can't be read or written, or isn't a database.
    Failed(EngineError),
}

/// A snapshot. Its transaction lives as long as its table does.
struct View {
    rows: Arc<ReadOnlyTable<Key, Key>>,
    readers: Readers,
}

impl Embedded {
    /// Opens a file. Creates a database if the file is empty or missing. A crash meanwhile leaves an unusable file.
    ///
    /// # Errors
    /// If the file is in use, can't be read or written, or isn't a database.
    pub(super) fn open(path: &Path, cache_bytes: usize) -> Result<Self, OpeningError> {
        let path = path.to_owned();
        Self::opened(Box::new(move |opening| file(&path, opening)), cache_bytes)
    }

    /// Opens a database on another backend, for tests. The closure must always return a handle of the same data.
    ///
    /// # Errors
    /// As [`Embedded::open`].
    pub(super) fn over<B: StorageBackend>(
        backend: impl Fn() -> B + Send + 'static,
        cache_bytes: usize,
    ) -> Result<Self, OpeningError> {
        Self::opened(Box::new(move |_| Ok(Backing::other(backend()))), cache_bytes)
    }

    /// Reads a whole database, and compares each page with its checksum. Returns the mark of the last batch. It writes to the database as
    /// each opening does, and repairs it if it can.
    ///
    /// # Errors
    /// If it is damaged, can't be read, or isn't a store.
    pub(super) fn checked(backend: impl StorageBackend, cache_bytes: usize) -> Result<Mark, EngineError> {
        let mut builder = Builder::new();
        builder.set_cache_size(cache_bytes).set_check_integrity_on_open(true);
        let database = builder.create_with_backend(backend).map_err(EngineError::new)?;
        database.begin_read().map_err(failed)?.open_table(ROWS).map_err(failed)?;
        mark_of(&database)
    }

    fn opened(opener: Opener, cache_bytes: usize) -> Result<Self, OpeningError> {
        let reads = Arc::<PageReads>::default();
        let backing = opener(Opening::First).map_err(|error| OpeningError::Failed(EngineError::new(error)))?;
        let backing = backing.counted(&reads);
        let database = Arc::new(builder(cache_bytes).create_with_backend(backing.clone())?);
        let embedded = Self { database, backing, readers: Readers::new(), cache_bytes, opener, reads };
        // The first write creates the table, because readers can't.
        if embedded.view().is_err() {
            embedded.writer().write(std::iter::empty(), None).map_err(OpeningError::Failed)?;
        }
        Ok(embedded)
    }

    /// Reopens the database, and writes to check that it works. Until that succeeds, views continue with the pages that the old
    /// database has in memory. No [`TreeWriter`] may be in use.
    ///
    /// # Errors
    /// If it still doesn't work. It can be tried again.
    pub(super) fn reopen(&mut self) -> Result<(), EngineError> {
        let failed = |error: io::Error| EngineError::broken(error);
        let backing = (self.opener)(Opening::Again).map_err(failed)?.counted(&self.reads);
        self.backing.retire().map_err(failed)?;
        let database = builder(self.cache_bytes).create_with_backend(backing.clone());
        let database = Arc::new(database.map_err(|error| EngineError::broken(OpeningError::from(error)))?);
        // A write shows whether the database works. If it doesn't, this database is dropped, and its locks are freed.
        TreeWriter(Arc::clone(&database)).write(std::iter::empty(), None)?;
        (self.database, self.backing) = (database, backing);
        Ok(())
    }

    /// Gives up the file and its locks. Views continue with the pages that are in memory. [`reopen`](Self::reopen) opens the
    /// file again.
    ///
    /// # Errors
    /// Those of the file.
    pub(super) fn release(&self) -> Result<(), EngineError> {
        self.backing.retire().map_err(EngineError::broken)
    }

    /// Returns a view of all that was written so far. Later writes don't change it.
    pub(super) fn view(&self) -> Result<Arc<dyn Snapshot>, EngineError> {
        let reading = self.database.begin_read().map_err(failed)?;
        let rows = Arc::new(reading.open_table(ROWS).map_err(failed)?);
        Ok(Arc::new(View { rows, readers: self.readers.clone() }))
    }

    /// Returns the mark of the last batch that was written with one. Before the first one, it is zero.
    pub(super) fn mark(&self) -> Result<Mark, EngineError> {
        mark_of(&self.database)
    }

    pub(super) fn writer(&self) -> TreeWriter {
        TreeWriter(Arc::clone(&self.database))
    }

    pub(super) fn page_reads(&self) -> Arc<PageReads> {
        Arc::clone(&self.reads)
    }
}

impl TreeWriter {
    /// Writes all rows, and the mark of the last batch that they are from, or nothing. Afterwards they survive a crash.
    ///
    /// # Errors
    /// If it fails. If the error is broken, nobody knows whether the rows are stored until the database is reopened.
    pub(super) fn write(&self, rows: impl Iterator<Item = LogRow>, mark: Option<Mark>) -> Result<(), EngineError> {
        let mut writing = self.0.begin_write().map_err(failed)?;
        writing.set_durability(Durability::Immediate).map_err(failed)?;
        // So that no start has to read the whole file. It costs a second sync, and about 64 KiB for each GB of the file. There are
        // few transactions, because most batches are in the log.
        writing.set_quick_repair(true);
        let mut table = writing.open_table(ROWS).map_err(failed)?;
        for (key, value) in rows {
            match value {
                Some(value) => table.insert(key.as_ref(), value.as_ref()).map_err(failed)?,
                None => table.remove(key.as_ref()).map_err(failed)?,
            };
        }
        drop(table);
        if let Some(Mark { salt, sequence }) = mark {
            let mut marks = writing.open_table(MARK).map_err(failed)?;
            marks.insert((), (salt, sequence)).map_err(failed)?;
        }
        writing.commit().map_err(failed)
    }
}

fn mark_of(database: &Database) -> Result<Mark, EngineError> {
    let reading = database.begin_read().map_err(failed)?;
    let marks = match reading.open_table(MARK) {
        Ok(marks) => marks,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Mark::default()),
        Err(error) => return Err(failed(error)),
    };
    let mark = marks.get(()).map_err(failed)?.map(|mark| mark.value());
    Ok(mark.map_or(Mark::default(), |(salt, sequence)| Mark { salt, sequence }))
}

/// Opens the file of a database. After a failure, it first checks that another file can be written next to it, and then
/// drops the file's cached pages, so that reads come from the disk.
fn file(path: &Path, opening: Opening) -> io::Result<Backing> {
    if opening == Opening::Again {
        probe(path)?;
    }
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    if opening == Opening::Again {
        forget_cached(&file)?;
    }
    Backing::file(file)
}

fn builder(cache_bytes: usize) -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(cache_bytes);
    builder.set_repair_callback(|session| {
        tracing::info!(
            "the store wasn't closed when its host ended; reading the whole file: {:.0} %",
            session.progress() * 100.0
        );
    });
    builder
}

impl Snapshot for View {
    fn get<'a>(&'a self, key: &'a [u8]) -> EngineFuture<'a, Option<Bytes>> {
        if let Some(value) = self.readers.at_once(|| value(&self.rows, key)) {
            return Box::pin(ready(value));
        }
        let (rows, key) = (Arc::clone(&self.rows), Bytes::copy_from_slice(key));
        Box::pin(self.readers.elsewhere(move || value(&rows, &key)))
    }

    fn scan<'a>(&'a self, span: &'a Span, direction: Direction, limit: ScanLimit) -> EngineFuture<'a, Rows> {
        if let Some(scanned) = self.readers.at_once(|| scanned(&self.rows, span, direction, limit)) {
            return Box::pin(ready(scanned));
        }
        let (rows, span) = (Arc::clone(&self.rows), span.clone());
        Box::pin(self.readers.elsewhere(move || scanned(&rows, &span, direction, limit)))
    }
}

fn value(rows: &ReadOnlyTable<Key, Key>, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
    let value = ReadableTable::get(rows, key).map_err(failed)?;
    Ok(value.map(|value| copied(&value)))
}

fn scanned(
    rows: &ReadOnlyTable<Key, Key>,
    span: &Span,
    direction: Direction,
    limit: ScanLimit,
) -> Result<Rows, EngineError> {
    let bounds = (Bound::Included(span.from.as_ref()), Bound::Excluded(span.until.as_ref()));
    let range = ReadableTable::range::<&[u8]>(rows, bounds).map_err(failed)?;
    let row = |row: Result<(AccessGuard<'_, Key>, AccessGuard<'_, Key>), StorageError>| -> Result<Row, StorageError> {
        row.map(|(key, value)| (copied(&key), copied(&value)))
    };
    let rows = match direction {
        Direction::Forward => Rows::gather(range.map(row), limit),
        Direction::Backward => Rows::gather(range.rev().map(row), limit),
    };
    rows.map_err(failed)
}

/// Converts an error of redb. It is broken if nothing works until the database is reopened.
fn failed(error: impl Into<redb::Error>) -> EngineError {
    match error.into() {
        redb::Error::PreviousIo => EngineError::broken("it failed earlier, and isn't reopened yet"),
        redb::Error::DatabaseClosed => EngineError::broken("it was reopened meanwhile"),
        error @ (redb::Error::Io(_) | redb::Error::LockPoisoned(_)) => EngineError::broken(error),
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
