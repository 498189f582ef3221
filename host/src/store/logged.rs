//! The engine of a data directory: a log in front of a tree.
//!
//! ```text
//! batch ──► record in the log, synced ──► active table
//!                                             │ full
//!                                             ▼
//!                                        frozen table ──► checkpoint: one transaction of the tree
//! ```
//!
//! A transaction of the tree copies and writes each page from the root to a row, so a small batch costs much more than its
//! bytes. A record is one write of the batch's own bytes. A checkpoint writes the rows of thousands of batches with one
//! transaction: a row that was written often is written once, and rows on the same page share its cost.
//!
//! There are two log files, one for each table. The tree has the mark of the last batch that it contains, in the same
//! transaction. So after a crash, the records with later numbers are written to the tree, and the others are ignored.
//!
//! The first batch after each opening goes to the tree directly, with a new salt. So the tree has the format of stores with a
//! log, and the salt of the log, before the first record is acknowledged.

use std::future::ready;
use std::sync::Arc;

use redb::StorageBackend;

use super::backing::PageReads;
use super::embedded::{Embedded, OpeningError};
use super::engine::{Engine, EngineError, EngineFuture, Snapshot, Writes};
use super::log::{
    self, Checkpointer, Layer, LayeredView, LogCounts, LogFiles, LogOpener, Mark, Opening, ROW, SharedTable, replay,
};

/// A tree in one file, and a log in two others.
pub struct Logged {
    // Fields are dropped in their order. The checkpoint thread ends before the tree is closed.
    checkpointer: Checkpointer,
    tree: Embedded,
    /// The rows of the tree: all batches before those of the tables.
    view: Arc<dyn Snapshot>,
    /// The table that a checkpoint is writing to the tree.
    frozen: Option<Arc<SharedTable>>,
    /// The table with the rows of the current log file.
    active: Arc<SharedTable>,
    /// The bytes of memory that the active table takes.
    active_bytes: usize,
    files: LogFiles,
    opener: LogOpener,
    limits: LogLimits,
    /// The mark of the last batch.
    last: Mark,
    /// Whether the tree has the salt of this opening.
    is_begun: bool,
    /// Whether nothing more is written until the engine is reopened.
    is_broken: bool,
    counts: Arc<LogCounts>,
}

/// The sizes of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// A checkpoint begins when a table takes this many bytes of memory. There are at most two tables.
    pub table_bytes: usize,
    /// A batch that would take more bytes in a table goes to the tree directly. That is more than
    /// [`StoreLimits::batch_bytes`](super::StoreLimits), so a batch of small commits always goes to the log.
    pub batch_bytes: usize,
    /// The bytes by which a log file grows.
    pub growth_bytes: u64,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { table_bytes: 4 << 20, batch_bytes: 1 << 20, growth_bytes: 1 << 20 }
    }
}

impl Logged {
    /// Opens a tree and a log on other backends, for tests. The closures must always return handles of the same data.
    ///
    /// # Errors
    /// If the data can't be read or written, or isn't a store.
    pub fn over<T: StorageBackend, L: StorageBackend>(
        tree: impl Fn() -> T + Send + 'static,
        log: impl Fn(usize) -> L + Send + 'static,
        cache_bytes: usize,
        limits: LogLimits,
    ) -> Result<Self, OpeningError> {
        Self::open(Embedded::over(tree, cache_bytes)?, Box::new(move |which, _| Ok(Box::new(log(which)))), limits)
    }

    /// Opens the log of a tree, and writes its batches to the tree.
    ///
    /// # Errors
    /// If the log can't be read or written, or doesn't belong to the tree.
    pub(super) fn open(tree: Embedded, opener: LogOpener, limits: LogLimits) -> Result<Self, OpeningError> {
        let opened = || -> Result<Self, EngineError> {
            let counts = Arc::default();
            let checkpointer = Checkpointer::start(&counts)?;
            let files = LogFiles::open(&opener, Opening::First, limits.growth_bytes).map_err(EngineError::new)?;
            let mut logged = Self {
                view: tree.view()?,
                frozen: None,
                active: checkpointer.table(),
                active_bytes: 0,
                files,
                opener,
                limits,
                last: Mark::default(),
                is_begun: false,
                is_broken: false,
                counts,
                tree,
                checkpointer,
            };
            logged.recover(Opening::First)?;
            Ok(logged)
        };
        opened().map_err(OpeningError::Failed)
    }

    /// Writes all batches of the log files to the tree, and begins with empty tables.
    fn recover(&mut self, opening: Opening) -> Result<(), EngineError> {
        let found = self.files.read().map_err(EngineError::broken)?;
        let found = replay(found, self.tree.mark()?).map_err(EngineError::broken)?;
        if found.batches > 0 {
            tracing::info!("the store wasn't closed when its host ended; writing {} commits of its log", found.batches);
            self.tree.writer().write(found.writes.into_iter(), Some(found.last))?;
        }
        // Before the salt changes. A file with another salt than the tree's is an error.
        self.files.clear(opening).map_err(EngineError::broken)?;
        self.view = self.tree.view()?;
        self.frozen = None;
        self.last = found.last;
        self.is_begun = false;
        self.is_broken = false;
        self.begin_table();
        self.counts.clear();
        Ok(())
    }

    fn reopen_all(&mut self) -> Result<(), EngineError> {
        self.is_broken = true;
        // Whatever the running checkpoint has done: the log has its rows. The thread may have died, so another one is started.
        // This waits for the first one.
        self.checkpointer = Checkpointer::start(&self.counts)?;
        self.tree.reopen()?;
        self.files =
            LogFiles::open(&self.opener, Opening::Again, self.limits.growth_bytes).map_err(EngineError::broken)?;
        self.recover(Opening::Again)
    }

    fn apply_now(&mut self, writes: &Writes) -> Result<(), EngineError> {
        if self.is_broken {
            return Err(EngineError::broken("it failed earlier, and isn't reopened yet"));
        }
        if writes.is_empty() {
            return Ok(());
        }
        let applied = self.stored(writes);
        self.is_broken = applied.as_ref().is_err_and(EngineError::is_broken);
        applied
    }

    fn stored(&mut self, writes: &Writes) -> Result<(), EngineError> {
        self.finish_checkpoint(false)?;
        let length = log::length(writes);
        let bytes = length + writes.len() * ROW;
        if !self.is_begun || bytes > self.limits.batch_bytes {
            return self.store_in_tree(writes);
        }
        if self.active_bytes >= self.limits.table_bytes {
            self.freeze()?;
        }
        let mark = self.last.next();
        let Some(record) = log::encode(mark, writes) else { return self.store_in_tree(writes) };
        self.files.append(mark, &record).map_err(EngineError::broken)?;
        self.last = mark;
        self.active.rows.add(mark.sequence, log::rows(&record));
        self.active_bytes += bytes;
        self.counts.add_record(length);
        Ok(())
    }

    /// Writes a batch to the tree, together with the rows of the table. So they stay in order.
    fn store_in_tree(&mut self, writes: &Writes) -> Result<(), EngineError> {
        self.finish_checkpoint(true)?;
        let mut mark = self.last.next();
        if !self.is_begun {
            mark.salt = getrandom::u64().map_err(EngineError::new)?;
        }
        let mut rows: Writes = self.active.rows.latest().collect();
        rows.extend(writes.iter().map(|(key, value)| (key.clone(), value.clone())));
        self.tree.writer().write(rows.into_iter(), Some(mark))?;
        self.last = mark;
        self.is_begun = true;
        self.files.restart();
        // The batch is stored. If it can't be read, only another opening can tell.
        self.view = self.tree.view().map_err(EngineError::broken)?;
        self.begin_table();
        self.counts.clear();
        Ok(())
    }

    /// Begins a checkpoint of the active table. Waits for an earlier one.
    fn freeze(&mut self) -> Result<(), EngineError> {
        self.finish_checkpoint(true)?;
        let table = Arc::clone(&self.active);
        self.counts.freeze();
        self.checkpointer.begin(self.tree.writer(), Arc::clone(&table), self.last);
        self.frozen = Some(table);
        self.files.switch();
        self.begin_table();
        Ok(())
    }

    /// If a checkpoint has ended, drops its table. `waits` is whether to wait for one that is running.
    fn finish_checkpoint(&mut self, waits: bool) -> Result<(), EngineError> {
        if !self.checkpointer.is_running() {
            return Ok(());
        }
        let mut result = self.checkpointer.result(false);
        if waits && result.is_none() {
            self.counts.count_wait();
            result = self.checkpointer.result(true);
        }
        if let Some(written) = result {
            // Whatever failed, the tree doesn't have the rows, and nothing may be added to the log before it has them.
            written.map_err(EngineError::broken)?;
            self.view = self.tree.view().map_err(EngineError::broken)?;
            self.frozen = None;
        }
        Ok(())
    }

    fn begin_table(&mut self) {
        self.active = self.checkpointer.table();
        self.active_bytes = 0;
    }

    /// Writes all rows to the tree.
    fn close_now(&mut self) -> Result<(), EngineError> {
        if self.is_broken {
            return Err(EngineError::broken("it failed earlier, and isn't reopened yet"));
        }
        self.is_broken = true;
        self.finish_checkpoint(true)?;
        if self.active_bytes > 0 {
            self.tree.writer().write(self.active.rows.latest(), Some(self.last))?;
            self.counts.clear();
        }
        Ok(())
    }

    /// Whether a checkpoint is running, or has ended since the last batch.
    #[cfg(test)]
    pub(super) fn has_frozen_rows(&self) -> bool {
        self.frozen.is_some()
    }

    /// Waits for the running checkpoint, so that the order of all writes is known.
    ///
    /// # Errors
    /// If the checkpoint failed.
    #[cfg(test)]
    pub(super) fn wait_for_checkpoint(&mut self) -> Result<(), EngineError> {
        let finished = self.finish_checkpoint(true);
        self.is_broken |= finished.as_ref().is_err_and(EngineError::is_broken);
        finished
    }
}

impl Engine for Logged {
    fn snapshot(&mut self) -> EngineFuture<'_, Arc<dyn Snapshot>> {
        let layer = |table: &Arc<SharedTable>| Layer { table: Arc::clone(table), batch: self.last.sequence };
        let (active, frozen) = (layer(&self.active), self.frozen.as_ref().map(layer));
        Box::pin(ready(Ok(Arc::new(LayeredView { active, frozen, tree: Arc::clone(&self.view) }) as Arc<dyn Snapshot>)))
    }

    fn apply<'a>(&'a mut self, writes: &'a Writes) -> EngineFuture<'a, ()> {
        // This blocks the committer's thread, which has no other work.
        Box::pin(async move { self.apply_now(writes) })
    }

    fn reopen(&mut self) -> EngineFuture<'_, ()> {
        Box::pin(async move { self.reopen_all() })
    }

    fn close(&mut self) -> EngineFuture<'_, ()> {
        Box::pin(async move { self.close_now() })
    }

    fn release(&mut self) -> EngineFuture<'_, ()> {
        Box::pin(async move {
            self.close_now()?;
            self.files.close().map_err(EngineError::broken)?;
            self.tree.release()
        })
    }

    fn reclaim(&mut self) -> EngineFuture<'_, ()> {
        self.reopen()
    }

    fn page_reads(&self) -> Arc<PageReads> {
        self.tree.page_reads()
    }

    fn log_counts(&self) -> Arc<LogCounts> {
        Arc::clone(&self.counts)
    }
}
