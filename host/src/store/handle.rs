//! The store, as the rest of the host uses it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::FutureExt;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::batch::CommitError;
use super::committer::{Committer, Order, PendingCommit, Shared};
use super::directory;
use super::draft::{Draft, Revision, Seen};
use super::engine::{Direction, Engine, EngineError, ScanLimit, Writes};
use super::health::{Trouble, now_ms};
use super::ids::{Ids, LEASE_MS};
use super::limits::StoreLimits;
use super::memory::Memory;
use super::metadata;
use super::reading;
use super::space::Owner;

/// Ordered keys to bytes, for every plugin its own. A handle, cheap to clone.
///
/// What a call does goes into a [`Draft`], and [`Store::commit`] makes it so: all of it or nothing, with the writes of many
/// calls under one sync.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    submission: Arc<Submission>,
}

/// Where calls are committed.
enum Submission {
    /// In a thread of its own, since a sync blocks.
    Thread(Queue),
    /// Right where the call is: for an engine that is always ready at once. It needs no thread, and so a clock that stands
    /// still in a test doesn't take the wait for one for idleness.
    Inline { committer: Mutex<Committer>, open: Semaphore },
}

struct Queue {
    orders: mpsc::UnboundedSender<Order>,
    /// One permit a byte that waits. Closed as soon as the store is.
    room: Arc<Semaphore>,
    room_bytes: u32,
}

impl Store {
    /// Opens the store in a data directory, and makes both if they aren't there. It may read the whole file first, if the
    /// host that had it open crashed. The directory is this store's alone until it is closed.
    ///
    /// # Errors
    /// Says what is in the way, and what to do about it.
    pub async fn open(directory: &Path, limits: StoreLimits) -> Result<Self> {
        let engine = directory::open(directory, limits.cache_bytes)?;
        Self::over(Box::new(engine), limits)
            .await
            .with_context(|| format!("opening the store in {}", directory.display()))
    }

    /// A store over some engine, with a thread of its own to write in.
    ///
    /// # Errors
    /// Where the engine fails, or holds what this version can't read.
    pub async fn over(engine: Box<dyn Engine>, limits: StoreLimits) -> Result<Self> {
        let committer = Committer::new(engine, limits).await?;
        let shared = Arc::clone(committer.shared());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.context("preparing to write")?;
        let (orders, queue) = mpsc::unbounded_channel();
        let last_word = FailOnExit(Arc::clone(&shared));
        let work = move || {
            reading::wait_here();
            let _last_word = last_word;
            runtime.block_on(committer.run(queue));
        };
        std::thread::Builder::new().name("bennu-store".into()).spawn(work).context("starting a thread to write in")?;
        let room_bytes = u32::try_from(limits.waiting_bytes.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX).max(1);
        let room = Arc::new(Semaphore::new(room_bytes as usize));
        Ok(Self { shared, submission: Arc::new(Submission::Thread(Queue { orders, room, room_bytes })) })
    }

    /// A store that keeps nothing: for tests, and for hosts without a data directory. Its commits are done at once.
    ///
    /// # Errors
    /// None but a fault of the host.
    pub fn in_memory(limits: StoreLimits) -> Result<Self> {
        let committer = Committer::new(Box::<Memory>::default(), limits).now_or_never();
        let committer = committer.context("memory is ready at once")??;
        let shared = Arc::clone(committer.shared());
        let submission = Submission::Inline { committer: Mutex::new(committer), open: Semaphore::new(0) };
        Ok(Self { shared, submission: Arc::new(submission) })
    }

    /// Begins a call's reading and writing, of what is committed by now.
    #[must_use]
    pub fn begin(&self, owner: &Owner) -> Draft {
        Draft::new(owner.clone(), self.shared.seen.load_full(), self.shared.limits)
    }

    /// Whether all that a call has read is still so.
    ///
    /// A call that writes need not ask, since its commit does. One that only reads has seen the store as it was at one
    /// moment, and need ask only if it mustn't act on what is no more.
    #[must_use]
    pub fn is_current(&self, draft: &Draft) -> bool {
        self.shared.is_current(draft)
    }

    /// Does a call's writes, all or none. When it is ready with a revision, they are there for every call that begins from
    /// then on, and survive a crash. A call without writes is done at once, unchecked.
    ///
    /// Who stops waiting for it doesn't stop it.
    ///
    /// # Errors
    /// Where it was overtaken or refused, and nothing of it is there. After a failed sync nobody can say that for sure: no
    /// call sees it, and nothing more is written, until the store is opened again and it is there as a whole or not at all.
    pub async fn commit(&self, draft: Draft) -> Result<Revision, CommitError> {
        if !draft.has_writes() {
            return Ok(draft.seen.revision);
        }
        match &*self.submission {
            Submission::Thread(queue) => queue.commit(draft).await,
            Submission::Inline { open, .. } if open.is_closed() => Err(CommitError::Stopping),
            Submission::Inline { committer, .. } => {
                let mut committer = committer.lock().unwrap_or_else(PoisonError::into_inner);
                let drafts = [draft];
                let outcomes = committer.settle(&drafts).now_or_never();
                let outcome = outcomes.and_then(|outcomes| outcomes.into_iter().next());
                outcome.unwrap_or_else(|| Err(CommitError::Failed(EngineError::new("memory wasn't ready at once"))))
            }
        }
    }

    /// Writes what no call has, if nothing else was written since that revision.
    pub(super) async fn apply(&self, writes: Writes, since: Revision) -> Result<Revision, CommitError> {
        match &*self.submission {
            Submission::Thread(queue) => queue.ask(|answer| Order::Apply(writes, since, answer)).await?,
            Submission::Inline { committer, .. } => {
                let mut committer = committer.lock().unwrap_or_else(PoisonError::into_inner);
                let applied = committer.apply_apart(writes, since).now_or_never();
                applied.unwrap_or_else(|| Err(CommitError::Failed(EngineError::new("memory wasn't ready at once"))))
            }
        }
    }

    /// An id that sorts behind all that were drawn from this store before, also by hosts that had it earlier, once
    /// [`Store::keep_ids`] has been called.
    #[must_use]
    pub fn unique_id(&self) -> String {
        let (id, asks) = self.shared.ids.draw(now_ms());
        if let (true, Submission::Thread(queue)) = (asks, &*self.submission) {
            // Where the thread has ended, so has the store.
            let _ = queue.orders.send(Order::Mark(None));
        }
        id
    }

    /// From now on no id is drawn that a later host could draw an earlier one after, whatever becomes of this one and of its clock.
    /// Gives how far the clock is behind the ids that were drawn before, unless that is no more than a host leaves that was killed.
    ///
    /// # Errors
    /// Where that can't be written. Ids are drawn all the same, and it is tried again with the next batch.
    pub async fn keep_ids(&self) -> Result<Option<Duration>, CommitError> {
        let behind_ms = self.shared.ids.last_ms().saturating_sub(now_ms());
        if let Submission::Thread(queue) = &*self.submission {
            queue.ask(|answer| Order::Mark(Some(answer))).await??;
        }
        Ok((behind_ms > LEASE_MS).then(|| Duration::from_millis(behind_ms)))
    }

    /// What is wrong with the store; none while it works. While something is, nothing is written, and it is mended as soon as that
    /// can be.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        self.shared.health.trouble()
    }

    /// The bytes of keys, rooms and values that a plugin has.
    ///
    /// # Errors
    /// Those of the engine.
    pub async fn usage(&self, plugin: &str) -> Result<u64, EngineError> {
        let seen = self.seen();
        let usage = metadata::read(&*seen.snapshot, &metadata::usage(plugin)).await;
        Ok(seen.told(usage)?.unwrap_or(0))
    }

    /// The plugins that have anything, each with its bytes.
    ///
    /// # Errors
    /// Those of the engine.
    pub async fn usages(&self) -> Result<Vec<(String, u64)>, EngineError> {
        let seen = self.seen();
        let mut usages = Vec::new();
        let mut rest = metadata::usages();
        loop {
            let read = seen.snapshot.scan(&rest, Direction::Forward, ScanLimit { rows: 1000, bytes: usize::MAX }).await;
            let read = seen.told(read)?;
            for (place, entry) in &read.rows {
                usages.push((metadata::plugin_of(place).unwrap_or_default().to_owned(), metadata::number(entry)?));
            }
            match read.rows.last() {
                Some((last, _)) if !read.ended => rest = rest.split_after(last, Direction::Forward).1,
                _ => return Ok(usages),
            }
        }
    }

    /// Ends it: what waits is committed, what comes later is refused. Then the file is closed, and may be opened again.
    pub async fn close(&self) {
        match &*self.submission {
            Submission::Thread(queue) => queue.close().await,
            Submission::Inline { open, .. } => open.close(),
        }
    }

    /// Waits until the thread that writes has ended. It must not end before the store is closed.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let submission = Arc::clone(&self.submission);
        async move {
            match &*submission {
                Submission::Thread(queue) => queue.orders.closed().await,
                Submission::Inline { .. } => std::future::pending().await,
            }
        }
    }

    pub(super) fn seen(&self) -> Arc<Seen> {
        self.shared.seen.load_full()
    }

    pub(super) fn ids(&self) -> &Ids {
        &self.shared.ids
    }

    pub(super) fn limits(&self) -> &StoreLimits {
        &self.shared.limits
    }
}

impl Queue {
    async fn commit(&self, draft: Draft) -> Result<Revision, CommitError> {
        // More than there is room for at all goes alone.
        let bytes = u32::try_from(draft.weight()).unwrap_or(u32::MAX).min(self.room_bytes);
        let place = Arc::clone(&self.room).acquire_many_owned(bytes).await.map_err(|_| CommitError::Stopping)?;
        let (answer, outcome) = oneshot::channel();
        let is_taken = self.orders.send(Order::Commit(PendingCommit { draft, answer, permit: place })).is_ok();
        match outcome.await {
            Ok(outcome) if is_taken => outcome,
            _ if self.room.is_closed() => Err(CommitError::Stopping),
            _ => Err(died()),
        }
    }

    /// Has the thread do something else, and waits for what comes of it.
    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T, CommitError> {
        let (answer, outcome) = oneshot::channel();
        let _ = self.orders.send(order(answer));
        outcome.await.map_err(|_| if self.room.is_closed() { CommitError::Stopping } else { died() })
    }

    async fn close(&self) {
        self.room.close();
        let (end, ended) = oneshot::channel();
        // Where the thread has ended already, there is nothing to wait for.
        if self.orders.send(Order::End(end)).is_ok() {
            let _ = ended.await;
        }
    }
}

fn died() -> CommitError {
    CommitError::Failed(EngineError::new(THREAD_DIED))
}

const THREAD_DIED: &str = "its thread died; this is a fault of the host";

/// Says that the thread which writes has died, if it dies: nothing is written any more.
struct FailOnExit(Arc<Shared>);

impl Drop for FailOnExit {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.health.set(Some(Trouble { since_ms: now_ms(), reason: THREAD_DIED.into() }));
        }
    }
}
