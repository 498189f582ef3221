//! The thread that writes tables to the tree while commits go on.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;

use super::counts::LogCounts;
use super::record::Mark;
use super::table::Table;
use crate::store::embedded::TreeWriter;
use crate::store::engine::EngineError;

/// The thread, with at most one checkpoint at a time.
pub(in crate::store) struct Checkpointer {
    jobs: Sender<Job>,
    results: Receiver<Result<(), EngineError>>,
    is_running: bool,
    thread: Option<JoinHandle<()>>,
}

enum Job {
    /// Writes the rows of a table to the tree. The mark is that of its last batch.
    Write(TreeWriter, Arc<SharedTable>, Mark),
    /// Drops a table that nobody uses any more.
    Drop(Table),
    End,
}

/// A table that several snapshots use. When its last user is gone, the checkpoint thread drops the rows. That takes
/// milliseconds, and the last user may be a thread that serves clients.
pub(in crate::store) struct SharedTable {
    pub(in crate::store) rows: Table,
    jobs: Sender<Job>,
}

impl Checkpointer {
    /// Starts the thread. It counts the checkpoints there.
    ///
    /// # Errors
    /// If the system has no thread.
    pub(in crate::store) fn start(counts: &Arc<LogCounts>) -> Result<Self, EngineError> {
        let ((jobs, orders), (answers, results)) = (channel(), channel());
        let counts = Arc::clone(counts);
        let thread = std::thread::Builder::new()
            .name("bennu-checkpoint".into())
            .spawn(move || work(&orders, &answers, &counts))
            .map_err(|error| EngineError::broken(format!("starting the checkpoint thread: {error}")))?;
        Ok(Self { jobs, results, is_running: false, thread: Some(thread) })
    }

    /// Returns a new empty table.
    pub(in crate::store) fn table(&self) -> Arc<SharedTable> {
        Arc::new(SharedTable { rows: Table::default(), jobs: self.jobs.clone() })
    }

    /// Begins to write a table to the tree. No other checkpoint may be running.
    pub(in crate::store) fn begin(&mut self, tree: TreeWriter, table: Arc<SharedTable>, last: Mark) {
        // If the thread has died, `result` says so.
        let _ = self.jobs.send(Job::Write(tree, table, last));
        self.is_running = true;
    }

    /// Whether a checkpoint is running, or its result wasn't taken yet.
    pub(in crate::store) fn is_running(&self) -> bool {
        self.is_running
    }

    /// Takes the result of the checkpoint. Waits for it if `waits` is set, and otherwise returns none while it is running.
    pub(in crate::store) fn result(&mut self, waits: bool) -> Option<Result<(), EngineError>> {
        let result = match waits {
            true => self.results.recv().map_err(|_| TryRecvError::Disconnected),
            false => self.results.try_recv(),
        };
        let result = match result {
            Ok(result) => result,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => {
                Err(EngineError::broken("the checkpoint thread died; this is a fault of the host"))
            }
        };
        self.is_running = false;
        Some(result)
    }
}

impl Drop for Checkpointer {
    /// Waits for the thread, because it may use the tree.
    fn drop(&mut self) {
        let _ = self.jobs.send(Job::End);
        if let Some(thread) = self.thread.take() {
            // If the thread has panicked, there is nothing left to do.
            let _ = thread.join();
        }
    }
}

impl Drop for SharedTable {
    fn drop(&mut self) {
        let rows = std::mem::take(&mut self.rows);
        if !rows.is_empty() {
            // If the thread has ended, the rows are dropped here, together with the job.
            let _ = self.jobs.send(Job::Drop(rows));
        }
    }
}

fn work(orders: &Receiver<Job>, answers: &Sender<Result<(), EngineError>>, counts: &LogCounts) {
    while let Ok(job) = orders.recv() {
        match job {
            Job::Write(tree, table, last) => {
                let written = tree.write(table.rows.latest(), Some(last));
                // They are dropped before the answer, so that nobody else uses the tree after it.
                drop((tree, table));
                if written.is_ok() {
                    counts.count_checkpoint();
                }
                // If nobody takes the answer, the store is being closed or opened again.
                let _ = answers.send(written);
            }
            Job::Drop(table) => drop(table),
            Job::End => return,
        }
    }
}
