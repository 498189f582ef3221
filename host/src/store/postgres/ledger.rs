//! The ledger: a store on PostgreSQL that the nodes of a cluster write. The database decides conflicts.
//!
//! ```text
//! read   ──► SELECT head.rev, row        if the revision has changed: look(what was read before)      no lock
//! batch  ──► commit_drafts(…)            node's fence ─► lock of the plugin's head ─► results ─► rows, log, head.rev + 1
//! lost   ──► settle_drafts(…)            the answer of the batch, or it is refused from now on
//! ```
//!
//! No read holds a transaction open, and nothing is kept in memory: each read asks the database. It also gets the revision of its plugin.
//! While that stays the same, all reads are of one moment. If it has changed, the database is asked whether what was read before has
//! changed, too. So a call costs no connection, and keeps no old rows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use bennu_cluster::NodeId;
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_postgres::Row;

use super::engine::Counts;
use super::errors::explain;
use super::ledger_moment::LedgerMoment;
use super::ledger_rows::{answer, rows_of};
use super::ledger_view::LedgerView;
use super::ledger_writers::{Lost, Writers};
use super::place::PostgresPlace;
use super::readers::Readers;
use crate::store::directory::DirectoryLock;
use crate::store::draft::Draft;
use crate::store::engine::{EngineError, EngineFuture, Snapshot};
use crate::store::footprint::Footprint;
use crate::store::ledger::{Answer, Ledger};
use crate::store::revision::Revision;

/// A ledger, as one node writes it.
pub(in crate::store) struct PostgresLedger {
    place: PostgresPlace,
    runtime: Handle,
    node: NodeId,
    writers: Writers,
    readers: Readers,
    /// The most spans that a view remembers.
    spans_most: usize,
    batches: Mutex<HashMap<Box<str>, LastBatch>>,
    counts: Arc<Counts>,
    /// The lock of the host's data directory.
    _lock: Option<DirectoryLock>,
}

/// The last batch of a plugin.
#[derive(Clone, Copy, Default)]
struct LastBatch {
    number: u64,
    /// Whether its answer was lost, and nobody knows yet what became of it.
    is_unsettled: bool,
}

/// The most writes that are forgotten while the plugin's lock is held.
const FORGOTTEN_AT_ONCE: i32 = 1000;

impl PostgresLedger {
    /// Connects, and makes the schema if it is missing. The current runtime serves the connections.
    ///
    /// # Errors
    /// If the database can't be used. The message says why, and what to do. If a host without a cluster writes to it, the error is
    /// [`InUse`](crate::store::InUse).
    pub(in crate::store) async fn open(
        place: &PostgresPlace,
        node: NodeId,
        spans_most: usize,
        lock: Option<DirectoryLock>,
    ) -> anyhow::Result<Self> {
        let runtime = Handle::try_current().context("a runtime is needed")?;
        let counts = Arc::<Counts>::default();
        let (writers, session) = Writers::open(place, &runtime, &counts).await?;
        let count = place.connections().saturating_sub(writers.count());
        let readers = Readers::connect_shared(place, &runtime, &counts, session, count).await;
        let readers = readers.map_err(|error| anyhow::anyhow!("{error}"))?;
        let (place, batches) = (place.clone(), Mutex::default());
        Ok(Self { place, runtime, node, writers, readers, spans_most, batches, counts, _lock: lock })
    }

    /// Returns the numbers about the connections.
    pub(in crate::store) fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// No change can panic half-way, so a poisoned lock is still valid.
    fn batches(&self) -> MutexGuard<'_, HashMap<Box<str>, LastBatch>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last_batch(&self, plugin: &str) -> LastBatch {
        self.batches().get(plugin).copied().unwrap_or_default()
    }

    fn note(&self, plugin: &str, number: u64, is_unsettled: bool) {
        self.batches().insert(plugin.into(), LastBatch { number, is_unsettled });
    }

    async fn store(&self, plugin: &str, drafts: &[Draft]) -> Result<Answer, EngineError> {
        let deadline = Instant::now() + self.place.patience();
        let last = self.last_batch(plugin);
        if last.is_unsettled {
            // Whoever waited for it was told that nobody knows.
            self.settle(plugin, last.number, deadline).await?;
        }
        loop {
            let number = self.last_batch(plugin).number + 1;
            // Noted before it is sent: if this future is dropped, the next batch asks what became of it.
            self.note(plugin, number, true);
            let why = match self.commit_once(plugin, number, drafts, deadline).await {
                Ok(answer) => {
                    self.note(plugin, number, false);
                    return Ok(answer);
                }
                Err(Lost::Refused(error)) => {
                    self.note(plugin, number, false);
                    return Err(error);
                }
                Err(Lost::Unknown(error)) => error,
            };
            if let Some(answer) = self.settle(plugin, number, deadline).await? {
                return Ok(answer);
            }
            // It isn't stored, and never will be. So the same drafts can be another batch.
            if Instant::now() >= deadline {
                return Err(EngineError::new(why));
            }
        }
    }

    async fn commit_once(
        &self,
        plugin: &str,
        number: u64,
        drafts: &[Draft],
        deadline: Instant,
    ) -> Result<Answer, Lost> {
        let connection = self.writers.take(deadline).await.map_err(|error| Lost::Refused(EngineError::new(error)))?;
        let (epoch, incarnation) = (self.node.epoch.0.cast_signed(), &self.node.incarnation.0[..]);
        let (opening, number) = (self.writers.opening(), number.cast_signed());
        let rows = rows_of(drafts);
        let row = connection
            .ask(
                self.place.patience(),
                |statements| &statements.commit,
                &[
                    &epoch,
                    &incarnation,
                    &opening,
                    &plugin,
                    &number,
                    &rows.seen,
                    &rows.generations,
                    &rows.quotas,
                    &rows.span_drafts,
                    &rows.span_froms,
                    &rows.span_untils,
                    &rows.write_drafts,
                    &rows.write_places,
                    &rows.write_contents,
                ],
            )
            .await?;
        let answer = answer(&row).and_then(|answer| answer.ok_or_else(|| EngineError::new("there are no results")));
        // Another version of the functions: nobody knows what they have done.
        answer.map_err(|error| Lost::Refused(EngineError::broken(error)))
    }

    /// Finds out what became of a batch whose answer was lost. Returns its answer, or none if it isn't stored: then the database refuses
    /// it from now on.
    ///
    /// # Errors
    /// If the database doesn't answer until the deadline, or the node counts as dead. Then nobody knows what became of it.
    async fn settle(&self, plugin: &str, number: u64, deadline: Instant) -> Result<Option<Answer>, EngineError> {
        let row = loop {
            let asked = self.settle_once(plugin, number, deadline).await;
            match asked {
                Ok(row) => break row,
                Err(Lost::Unknown(_)) if Instant::now() < deadline => {}
                Err(Lost::Refused(error) | Lost::Unknown(error)) => return Err(EngineError::broken(error)),
            }
        };
        self.counts.settled.add();
        self.note(plugin, number, false);
        answer(&row)
    }

    async fn settle_once(&self, plugin: &str, number: u64, deadline: Instant) -> Result<Row, Lost> {
        let connection = self.writers.take(deadline).await.map_err(Lost::Unknown)?;
        let (epoch, incarnation) = (self.node.epoch.0.cast_signed(), &self.node.incarnation.0[..]);
        let number = number.cast_signed();
        // It waits for a batch that is still being written: that one has the lock.
        let wait = deadline.saturating_duration_since(Instant::now());
        connection.ask(wait, |statements| &statements.settle, &[&epoch, &incarnation, &plugin, &number]).await
    }

    async fn forget(&self, plugin: &str, up_to: Revision) -> Result<(), EngineError> {
        loop {
            let connection = self.writers.take(Instant::now() + self.place.patience()).await?;
            let up_to = up_to.0.cast_signed();
            let row = connection
                .ask(self.place.patience(), |statements| &statements.prune, &[&plugin, &up_to, &FORGOTTEN_AT_ONCE])
                .await?;
            let forgotten: i64 = row.try_get(0).map_err(|error| EngineError::new(explain(&error)))?;
            if forgotten < i64::from(FORGOTTEN_AT_ONCE) {
                return Ok(());
            }
        }
    }
}

impl Ledger for PostgresLedger {
    fn view(&self, plugin: &str) -> Arc<dyn Snapshot> {
        Arc::new(LedgerView::of_plugin(&self.readers, plugin, self.spans_most))
    }

    fn latest(&self) -> Arc<dyn Snapshot> {
        Arc::new(LedgerView::latest(&self.readers))
    }

    fn moment(&self) -> Arc<dyn Snapshot> {
        LedgerMoment::new(&self.place, &self.runtime)
    }

    fn commit<'a>(&'a self, plugin: &'a str, drafts: &'a [Draft]) -> EngineFuture<'a, Answer> {
        Box::pin(self.store(plugin, drafts))
    }

    fn is_current<'a>(&'a self, plugin: &'a str, since: Revision, read: &'a Footprint) -> EngineFuture<'a, bool> {
        Box::pin(self.readers.look(plugin, since, read))
    }

    fn raise(&self, place: Bytes, number: u64) -> EngineFuture<'_, ()> {
        Box::pin(async move {
            let connection = self.writers.take(Instant::now() + self.place.patience()).await?;
            let (place, number) = (&*place, &number.to_be_bytes()[..]);
            connection.ask(self.place.patience(), |statements| &statements.raise, &[&place, &number]).await?;
            Ok(())
        })
    }

    fn prune<'a>(&'a self, plugin: &'a str, up_to: Revision) -> EngineFuture<'a, ()> {
        Box::pin(self.forget(plugin, up_to))
    }

    fn close(&self) -> EngineFuture<'_, ()> {
        self.readers.close();
        self.writers.close();
        Box::pin(std::future::ready(Ok(())))
    }
}
