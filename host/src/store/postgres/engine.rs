//! The engine: applies batches through the writer, and takes snapshots of the window.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::place::PostgresPlace;
use super::readers::Readers;
use super::view::View;
use super::window::{Before, Window, WindowLimits};
use super::writer::{ATTEMPT, Outcome, Writer};
use crate::store::engine::{Engine, EngineError, EngineFuture, Snapshot, Writes};

/// An engine on PostgreSQL.
pub struct Postgres {
    place: PostgresPlace,
    runtime: Handle,
    writer: Writer,
    readers: Readers,
    window: Arc<Window>,
    limits: WindowLimits,
    /// The number of the last batch, whatever became of it.
    number: u64,
    /// The batch whose answer was lost.
    unsettled: Option<(u64, Writes)>,
    counts: Arc<Counts>,
}

/// Numbers about the connections to the database.
#[derive(Debug, Default)]
pub struct Counts {
    /// Statements that read.
    pub(super) reads: Count,
    /// Reads that had to wait for a connection.
    pub(super) waits: Count,
    /// Connections that were made again.
    pub(super) connects: Count,
    /// Batches whose answer was lost, and whose outcome was asked for.
    pub(super) settled: Count,
}

/// A number that grows.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

/// Memory for values that snapshots still need, as a multiple of the cache, and at least.
const WINDOW_BYTES_MIN: usize = 64 << 20;

impl Count {
    // Relaxed, here and below: no other memory is read by its value.
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counts {
    /// Returns the number of statements that read.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.reads.get()
    }

    /// Returns how many reads had to wait for a connection.
    #[must_use]
    pub fn waits(&self) -> u64 {
        self.waits.get()
    }

    /// Returns how many connections were made again.
    #[must_use]
    pub fn connects(&self) -> u64 {
        self.connects.get()
    }

    /// Returns how many batches had no answer, so that their outcome was asked for.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.settled.get()
    }
}

impl Postgres {
    /// Connects, makes the schema if it is missing, and begins to write. The current runtime serves the connections.
    ///
    /// # Errors
    /// If the database can't be used. The message says why, and what to do. If another host writes to it, the error is
    /// [`InUse`](crate::store::InUse).
    pub async fn open(place: &PostgresPlace, cache_bytes: usize) -> anyhow::Result<Self> {
        let runtime = Handle::try_current().context("a runtime is needed")?;
        let counts = Arc::<Counts>::default();
        let (writer, readers) = connect(place, &runtime, &counts).await?;
        let limits = WindowLimits { cache_bytes, bytes_max: cache_bytes.saturating_mul(2).max(WINDOW_BYTES_MIN) };
        let window = Arc::new(Window::new(limits));
        let place = place.clone();
        Ok(Self { place, runtime, writer, readers, window, limits, number: 0, unsettled: None, counts })
    }

    async fn store(&mut self, writes: &Writes) -> Result<(), EngineError> {
        if self.unsettled.is_some() {
            return Err(EngineError::broken("the outcome of an earlier batch isn't known yet"));
        }
        if writes.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + self.place.patience();
        loop {
            // Before anything is written, so that a connection that was lost while the host was idle costs no question.
            self.writer.connected(deadline).await?;
            self.number += 1;
            let number = self.number;
            self.begin_batch(number, writes).await?;
            match self.writer.commit(number, writes).await {
                Outcome::Stored => {
                    self.window.end_batch(number);
                    return Ok(());
                }
                Outcome::Refused(error) => {
                    self.window.drop_batch(number, writes);
                    return Err(error);
                }
                Outcome::Unknown(error) => {
                    self.unsettled = Some((number, writes.clone()));
                    if self.settle(deadline).await? {
                        return Ok(());
                    }
                    // It isn't stored, and never will be. So the same rows can be written as another batch.
                    if Instant::now() >= deadline {
                        return Err(EngineError::new(error));
                    }
                }
            }
        }
    }

    /// Adds the batch to the window, with the values that it replaces.
    async fn begin_batch(&mut self, number: u64, writes: &Writes) -> Result<(), EngineError> {
        let mut before = Before::new();
        while let Err(missing) = self.window.begin_batch(number, writes, &before) {
            let mut found = self.readers.get_many(&missing).await?;
            before.extend(missing.into_iter().map(|key| {
                let value = found.remove(&key);
                (key, value)
            }));
        }
        Ok(())
    }

    /// Finds out what became of the batch whose answer was lost. Returns whether it is stored.
    async fn settle(&mut self, deadline: Instant) -> Result<bool, EngineError> {
        let Some((number, _)) = &self.unsettled else { return Ok(true) };
        let is_stored = self.writer.settle(*number, deadline).await?;
        if let Some((number, writes)) = self.unsettled.take() {
            if is_stored {
                self.window.end_batch(number);
            } else {
                self.window.drop_batch(number, &writes);
            }
        }
        Ok(is_stored)
    }

    async fn give_up(&mut self) -> Result<(), EngineError> {
        let closed = self.writer.close().await;
        self.readers.close();
        self.window.end_all();
        closed
    }
}

async fn connect(place: &PostgresPlace, runtime: &Handle, counts: &Arc<Counts>) -> anyhow::Result<(Writer, Readers)> {
    let (writer, second) = Writer::open(place, runtime, counts).await?;
    let readers = Readers::connect(place, runtime, counts, second).await;
    Ok((writer, readers.map_err(|error| anyhow::anyhow!("{error}"))?))
}

impl Engine for Postgres {
    fn snapshot(&mut self) -> EngineFuture<'_, Arc<dyn Snapshot>> {
        let view: Arc<dyn Snapshot> = Arc::new(View::begin(&self.window, &self.readers));
        Box::pin(std::future::ready(Ok(view)))
    }

    fn apply<'a>(&'a mut self, writes: &'a Writes) -> EngineFuture<'a, ()> {
        Box::pin(self.store(writes))
    }

    fn reopen(&mut self) -> EngineFuture<'_, ()> {
        Box::pin(async {
            // One attempt. The committer makes the next one, after a pause that grows with the time that this one takes.
            self.writer.connected(Instant::now()).await?;
            self.settle(Instant::now() + ATTEMPT).await.map(drop)
        })
    }

    fn close(&mut self) -> EngineFuture<'_, ()> {
        Box::pin(self.give_up())
    }

    fn release(&mut self) -> EngineFuture<'_, ()> {
        Box::pin(self.give_up())
    }

    fn reclaim(&mut self) -> EngineFuture<'_, ()> {
        Box::pin(async {
            let connected = connect(&self.place, &self.runtime, &self.counts).await;
            (self.writer, self.readers) = connected.map_err(|error| EngineError::broken(format!("{error:#}")))?;
            self.window = Arc::new(Window::new(self.limits));
            (self.number, self.unsettled) = (0, None);
            Ok(())
        })
    }

    fn postgres_counts(&self) -> Option<Arc<Counts>> {
        Some(Arc::clone(&self.counts))
    }
}
