//! The jobs of all plugins in memory, in the order in which they are due: an index of the rows.
//!
//! The committer keeps it: it reads all rows when the store is opened, and notes each batch before anything else is committed. So
//! the board never differs from the last batch, and no tick has to search the store. The dispatcher of `jobs` takes the jobs that
//! are due.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bennu_semantics::jobs::{Agenda, JobId, JobRow};
use bytes::Bytes;
use tokio::sync::Notify;

use super::engine::{Direction, EngineError, ScanLimit, Snapshot, Writes};
use super::job_rows::job_id;
use super::space;

/// The most that is read at once.
const READ: ScanLimit = ScanLimit { rows: 1000, bytes: 1 << 20 };

/// The jobs of all plugins.
#[derive(Debug, Default)]
pub struct JobBoard {
    agenda: Mutex<Agenda>,
    changed: Notify,
}

impl JobBoard {
    /// Runs a function with the agenda. It must not block: the committer waits for the lock.
    pub fn with<T>(&self, act: impl FnOnce(&mut Agenda) -> T) -> T {
        act(&mut self.agenda())
    }

    /// Waits until a batch has changed jobs. A change that happens while nobody waits isn't lost.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Reads all jobs of a snapshot, in place of those that it knew. Those that are being tried stay so.
    pub(super) async fn load(&self, snapshot: &dyn Snapshot) -> Result<(), EngineError> {
        let mut stored = Vec::new();
        let mut unread = Some(space::all_jobs());
        while let Some(span) = unread.take() {
            let read = snapshot.scan(&span, Direction::Forward, READ).await?;
            if let Some((last, _)) = read.rows.last().filter(|_| !read.ended) {
                unread = Some(span.split_after(last, Direction::Forward).1);
            }
            stored.extend(read.rows.into_iter().filter_map(|(place, row)| {
                let bytes = (place.len() + row.len()) as u64;
                Some((job_id(&place)?, next_ms(row)?, bytes))
            }));
        }
        let mut agenda = self.agenda();
        let gone: Vec<Arc<JobId>> = agenda.after(None).map(|(id, _)| Arc::clone(id)).collect();
        let kept: std::collections::BTreeSet<_> = stored.iter().map(|(id, ..)| id.clone()).collect();
        gone.iter().filter(|id| !kept.contains(&***id)).for_each(|id| agenda.remove(id));
        stored.into_iter().for_each(|(id, next_ms, bytes)| agenda.put(id, next_ms, bytes));
        drop(agenda);
        self.changed.notify_one();
        Ok(())
    }

    /// Notes a batch that was written. A batch without jobs costs a search.
    pub(super) fn note(&self, writes: &Writes) {
        if !space::has_jobs(writes) {
            return;
        }
        let span = space::all_jobs();
        let changes = writes.range(span.from..span.until);
        let mut agenda = self.agenda();
        for (place, row) in changes {
            let Some(id) = job_id(place) else { continue };
            match row.as_ref().and_then(|row| Some((next_ms(row.clone())?, row.len()))) {
                Some((next_ms, bytes)) => agenda.put(id, next_ms, (place.len() + bytes) as u64),
                None => agenda.remove(&id),
            }
        }
        drop(agenda);
        self.changed.notify_one();
    }

    // No change of the agenda can panic half-way, so a poisoned lock is used like any other.
    pub(super) fn agenda(&self) -> MutexGuard<'_, Agenda> {
        self.agenda.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a stored job is tried next. The outer option is none if the row is damaged.
#[allow(clippy::option_option, reason = "the outer option is about the row, and the inner one about the job")]
fn next_ms(row: Bytes) -> Option<Option<u64>> {
    JobRow::decode(row).map(|row| row.next_ms)
}
