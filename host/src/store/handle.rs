//! The store's handle, which the rest of the host uses.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::FutureExt;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::batch::CommitError;
use super::committer::{Committer, Order, PendingCommit, Shared};
use super::counts::StoreCounts;
use super::delivery_board::DeliveryBoard;
use super::directory;
use super::draft::{Draft, PausedDraft, Seen};
use super::engine::{Direction, Engine, EngineError, ScanLimit, Writes};
use super::health::{Trouble, now_ms};
use super::ids::{Ids, LEASE_MS};
use super::job_board::JobBoard;
use super::ledger::Ledger;
use super::ledger_committer::LedgerCommitter;
use super::log::LogCounts;
use super::logged::LogLimits;
use super::memory::Memory;
use super::metadata;
use super::postgres::PostgresCounts;
use super::reading;
use super::revision::Revision;
use super::space::Owner;
use bennu_semantics::limits::StoreLimits;

/// A map from ordered keys to bytes for each plugin. A handle, cheap to clone.
///
/// A call's writes go into a [`Draft`]. [`Store::commit`] stores all of them or none, and the writes of many calls share one
/// sync.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    submission: Arc<Submission>,
}

/// Where calls are committed.
enum Submission {
    /// On a thread of its own, because a sync blocks, or in a task, if the store is a ledger.
    Thread(Queue),
    /// On the calling thread, for an engine that is always ready at once. This needs no other thread. With another thread, a
    /// paused test clock would take the wait for that thread for idleness, and advance.
    Inline {
        /// Behind a lock, because calls on several threads can commit at the same time.
        committer: Mutex<Committer>,
        /// A semaphore that is used only as a flag: it is closed when the store is.
        open: Semaphore,
    },
}

/// How long a call waits that was refused because another generation serves in the cluster: this node is about to switch, too. Without the
/// pause, the call would run again and again until then.
const SWITCH_PAUSE: Duration = Duration::from_millis(20);

struct Queue {
    /// Unbounded, because `room` already bounds the drafts in it.
    orders: mpsc::UnboundedSender<Order>,
    /// One permit for each byte in the queue. Closed together with the store.
    room: Arc<Semaphore>,
    room_bytes: u32,
}

impl Store {
    /// Opens the store in a data directory. Creates the directory and the store if they are missing. After a crash of the
    /// host, this first writes the commits of the log to the tree. No other store can open the directory until this one is closed.
    ///
    /// # Errors
    /// If the directory or the file can't be opened, or is in use. The message says what to do about it.
    pub async fn open(directory: &Path, limits: StoreLimits) -> Result<Self> {
        let engine = directory::open(directory, limits.cache_bytes, LogLimits::default())?;
        Self::over(Box::new(engine), limits)
            .await
            .with_context(|| format!("opening the store in {}", directory.display()))
    }

    /// Opens a store over an engine, and starts the thread that writes.
    ///
    /// # Errors
    /// If the engine fails, if its content has a format that this version can't read, or if the thread can't be started.
    pub async fn over(engine: Box<dyn Engine>, limits: StoreLimits) -> Result<Self> {
        let committer = Committer::new(engine, limits).await?;
        let shared = Arc::clone(committer.shared());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.context("creating a runtime for the thread that writes")?;
        let (orders, queue) = mpsc::unbounded_channel();
        let fail_on_exit = FailOnExit(Arc::clone(&shared));
        let work = move || {
            reading::wait_here();
            let _fail_on_exit = fail_on_exit;
            runtime.block_on(committer.run(queue));
        };
        std::thread::Builder::new()
            .name("bennu-store".into())
            .spawn(work)
            .context("starting the thread that writes")?;
        Ok(Self::with_queue(shared, orders))
    }

    /// Opens a store over a ledger, which other hosts write, too. A task of the current runtime commits.
    ///
    /// # Errors
    /// If the ledger fails, or if its content has a format that this version can't read.
    pub(super) async fn over_ledger(
        ledger: Arc<dyn Ledger>,
        limits: StoreLimits,
        counts: StoreCounts,
    ) -> Result<Self, EngineError> {
        let shared = Arc::new(Shared::of_ledger(Arc::clone(&ledger), limits, counts).await?);
        let (orders, queue) = mpsc::unbounded_channel();
        let fail_on_exit = FailOnExit(Arc::clone(&shared));
        let committer = LedgerCommitter::new(ledger, Arc::clone(&shared));
        tokio::spawn(async move {
            let _fail_on_exit = fail_on_exit;
            committer.run(queue).await;
        });
        Ok(Self::with_queue(shared, orders))
    }

    fn with_queue(shared: Arc<Shared>, orders: mpsc::UnboundedSender<Order>) -> Self {
        let limits = &shared.limits;
        let room_bytes = u32::try_from(limits.waiting_bytes.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX).max(1);
        let room = Arc::new(Semaphore::new(room_bytes as usize));
        Self { shared, submission: Arc::new(Submission::Thread(Queue { orders, room, room_bytes })) }
    }

    /// Opens a store in memory, for tests and for hosts without a data directory. Its commits are ready at once.
    ///
    /// # Errors
    /// Only because of a bug in the host.
    pub fn in_memory(limits: StoreLimits) -> Result<Self> {
        let committer = Committer::new(Box::<Memory>::default(), limits).now_or_never();
        let committer = committer.context("memory is ready at once")??;
        let shared = Arc::clone(committer.shared());
        let submission = Submission::Inline { committer: Mutex::new(committer), open: Semaphore::new(0) };
        Ok(Self { shared, submission: Arc::new(submission) })
    }

    /// Begins a draft for a call, over all that is committed by now.
    #[must_use]
    pub fn begin(&self, owner: &Owner) -> Draft {
        self.begin_at(owner, now_ms())
    }

    /// The same, by another clock: `now_ms` decides which keys have expired.
    #[must_use]
    pub fn begin_at(&self, owner: &Owner, now_ms: u64) -> Draft {
        Draft::new(owner.clone(), self.shared.seen_by(owner.name()), now_ms)
    }

    /// Continues a draft that was paused, over all that is committed by now.
    #[must_use]
    pub fn resume(&self, paused: PausedDraft) -> Draft {
        let seen = self.shared.seen_by(paused.owner().name());
        paused.resume(seen)
    }

    /// What [`Self::is_current`] says, at once. None if other hosts write to the store too, so that the answer takes a while.
    #[must_use]
    pub fn is_current_alone(&self, draft: &Draft) -> Option<bool> {
        self.shared.ledger.is_none().then(|| self.shared.is_current(draft))
    }

    /// Whether no key that a call has read was changed since the call began.
    ///
    /// A call that writes does not have to ask, because its commit checks this. A call that only reads has seen the store at
    /// one moment. It has to ask only if it must not act on outdated data.
    ///
    /// # Errors
    /// If the store is shared with other hosts, and fails.
    pub async fn is_current(&self, draft: &Draft) -> Result<bool, EngineError> {
        let Some(ledger) = &self.shared.ledger else { return Ok(self.shared.is_current(draft)) };
        if !draft.has_reads() {
            return Ok(true);
        }
        let read = ledger.is_current(draft.owner().name(), draft.since(), &draft.footprint).await;
        draft.seen.report_error(read)
    }

    /// Stores all writes of a call, or none. When the future is ready with a revision, every call that begins later sees the
    /// writes, and they survive a crash. A draft without writes is ready at once, and isn't checked for conflicts.
    ///
    /// Dropping the future after its first poll doesn't cancel the commit, unless it still waits for room in the queue.
    ///
    /// # Errors
    /// If there is a conflict, if the quota would be exceeded, or if the store fails or is closing. Then none of the writes
    /// is stored. After a failed sync, the host can't know this. Then no call sees the writes, and nothing more is written,
    /// until the store is reopened. After that, all of the writes are there, or none.
    pub async fn commit(&self, draft: Draft) -> Result<Revision, CommitError> {
        if !draft.has_writes() {
            return Ok(draft.seen.revision);
        }
        match &*self.submission {
            Submission::Thread(queue) => {
                let outcome = queue.commit(draft).await;
                if outcome == Err(CommitError::OtherGeneration) {
                    self.shared.switched.notify_one();
                    tokio::time::sleep(SWITCH_PAUSE).await;
                }
                outcome
            }
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

    /// Waits until a commit was refused because another generation of its plugin serves in the cluster. One waiter is told.
    pub async fn switched(&self) {
        self.shared.switched.notified().await;
    }

    /// Applies writes that don't come from a call, if nothing else was written since the revision.
    ///
    /// # Errors
    /// If something else was written, or the store fails or is closing.
    pub(super) async fn apply(&self, writes: Writes, since: Revision) -> Result<Revision, CommitError> {
        match &*self.submission {
            Submission::Thread(queue) => queue.ask(|answer| Order::Apply(writes, since, answer)).await?,
            Submission::Inline { open, .. } if open.is_closed() => Err(CommitError::Stopping),
            Submission::Inline { committer, .. } => {
                let mut committer = committer.lock().unwrap_or_else(PoisonError::into_inner);
                let applied = committer.apply_apart(writes, since).now_or_never();
                applied.unwrap_or_else(|| Err(CommitError::Failed(EngineError::new("memory wasn't ready at once"))))
            }
        }
    }

    /// Returns a new id. It sorts after all ids that were drawn from this store before. After [`Store::keep_ids`] this
    /// includes the ids of earlier hosts.
    #[must_use]
    pub fn unique_id(&self) -> String {
        let (id, asks) = self.shared.ids.draw(now_ms());
        if let (true, Submission::Thread(queue)) = (asks, &*self.submission) {
            // This fails only if the thread has ended. Then no mark can be written any more.
            let _ = queue.orders.send(Order::Mark(None));
        }
        id
    }

    /// Makes the ids of this store different from those of all other nodes of a cluster. `epoch` is the number of the node's start.
    /// It is called before the first id is drawn.
    pub fn set_epoch(&self, epoch: u64) {
        self.shared.ids.set_epoch(epoch);
    }

    /// Returns the time and the count of the last id, as a number that grows with each id.
    #[must_use]
    pub fn last_id_time(&self) -> u64 {
        self.shared.ids.last()
    }

    /// Makes further ids sort after an id of another node, by its [`last_id_time`](Self::last_id_time). A time that is more than
    /// five seconds ahead of this node's clock is ignored.
    pub fn follow_id(&self, last_id_time: u64) {
        self.shared.ids.follow(last_id_time, now_ms());
    }

    /// Writes the id mark from now on. This guarantees that the ids of later hosts sort after those of this one, even if
    /// this host is killed or its clock is wrong. Returns how far the clock is behind the ids that were drawn earlier.
    /// Returns none if that is at most 60 s, because the mark of a killed host is that far ahead.
    ///
    /// # Errors
    /// If the mark can't be written. Ids can be drawn nevertheless, and the next batch tries again.
    pub async fn keep_ids(&self) -> Result<Option<Duration>, CommitError> {
        let behind_ms = self.shared.ids.last_ms().saturating_sub(now_ms());
        if let Submission::Thread(queue) = &*self.submission {
            queue.ask(|answer| Order::Mark(Some(answer))).await??;
        }
        Ok((behind_ms > LEASE_MS).then(|| Duration::from_millis(behind_ms)))
    }

    /// Returns the present failure of the store, or none while it works. During a failure nothing is written, and the host
    /// reopens the store as soon as it can.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        self.shared.health.trouble()
    }

    /// Returns how many pages the engine has read since the start, also those that the operating system had in memory.
    #[must_use]
    pub fn page_reads(&self) -> u64 {
        self.shared.page_reads.count()
    }

    /// Returns the numbers about the log.
    #[must_use]
    pub fn log_counts(&self) -> &LogCounts {
        &self.shared.log_counts
    }

    /// Returns the numbers about the connections to the database, if the store is on one.
    #[must_use]
    pub fn postgres_counts(&self) -> Option<&PostgresCounts> {
        self.shared.counts.postgres.as_deref()
    }

    /// Returns the counts of commits.
    #[must_use]
    pub fn counts(&self) -> &StoreCounts {
        &self.shared.counts
    }

    /// Returns the bytes of keys, rooms, entries and values that a plugin has.
    ///
    /// # Errors
    /// Those of the engine.
    pub async fn usage(&self, plugin: &str) -> Result<u64, EngineError> {
        Ok(self.seen().number(&metadata::usage(plugin)).await?.unwrap_or(0))
    }

    /// Returns the bytes of a plugin's data, of its jobs and of its deliveries.
    ///
    /// # Errors
    /// Those of the engine.
    pub(super) async fn usage_with_jobs(&self, plugin: &str) -> Result<u64, EngineError> {
        let jobs = self.jobs().agenda().usage(plugin).bytes;
        let deliveries = self.deliveries().queue().usage(plugin).bytes;
        Ok(self.usage(plugin).await?.saturating_add(jobs).saturating_add(deliveries))
    }

    /// Returns all plugins that have data, each with its bytes.
    ///
    /// # Errors
    /// Those of the engine.
    pub async fn usages(&self) -> Result<Vec<(String, u64)>, EngineError> {
        let seen = self.seen();
        let mut usages = Vec::new();
        let mut rest = metadata::usages();
        loop {
            let read = seen.rows(&rest, ScanLimit { rows: 1000, bytes: usize::MAX }).await?;
            for (place, entry) in &read.rows {
                usages.push((metadata::plugin_of(place).unwrap_or_default().to_owned(), metadata::number(entry)?));
            }
            match read.rows.last() {
                Some((last, _)) if !read.ended => rest = rest.split_after(last, Direction::Forward).1,
                _ => return Ok(usages),
            }
        }
    }

    /// Returns the jobs of all plugins.
    #[must_use]
    pub fn jobs(&self) -> &Arc<JobBoard> {
        &self.shared.jobs
    }

    /// Returns the deliveries of all plugins.
    #[must_use]
    pub fn deliveries(&self) -> &Arc<DeliveryBoard> {
        &self.shared.deliveries
    }

    /// Closes the store. Drafts in the queue are committed, and later ones are refused. When the future is ready, the file
    /// is closed and can be opened again.
    pub async fn close(&self) {
        match &*self.submission {
            Submission::Thread(queue) => queue.close().await,
            Submission::Inline { open, .. } => open.close(),
        }
    }

    /// Gives up the files, so that another process can open the data directory. Drafts in the queue are committed, and later
    /// ones fail until the files are [reclaimed](Self::reclaim).
    ///
    /// # Errors
    /// If the store fails or is closing. Then it still has the files.
    pub async fn release(&self) -> Result<(), CommitError> {
        match &*self.submission {
            Submission::Thread(queue) => queue.ask(Order::Release).await?,
            Submission::Inline { .. } => Ok(()),
        }
    }

    /// Opens the files again after a [release](Self::release).
    ///
    /// # Errors
    /// If another process has them, or they can't be opened. The caller may try again.
    pub async fn reclaim(&self) -> Result<(), CommitError> {
        match &*self.submission {
            Submission::Thread(queue) => queue.ask(Order::Reclaim).await?,
            Submission::Inline { .. } => Ok(()),
        }
    }

    /// Waits until the thread that writes has ended. If it ends before the store is closed, that is a bug in the host.
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

    /// Returns the content of one moment, for many reads outside of calls.
    pub(super) fn seen_for_long(&self) -> Arc<Seen> {
        match &self.shared.ledger {
            None => self.seen(),
            Some(ledger) => Arc::new(Seen::of_ledger(ledger.moment(), &self.shared.health, self.shared.limits)),
        }
    }

    pub(super) fn ids(&self) -> &Ids {
        &self.shared.ids
    }

    pub(super) fn exporting(&self) -> &Arc<Semaphore> {
        &self.shared.exporting
    }

    pub(super) fn limits(&self) -> &StoreLimits {
        &self.shared.limits
    }
}

impl Queue {
    async fn commit(&self, draft: Draft) -> Result<Revision, CommitError> {
        // A draft that is larger than the whole queue takes all of the room, and so waits in the queue alone.
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

    /// Sends another order to the thread, and waits for the answer.
    async fn ask<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T, CommitError> {
        let (answer, outcome) = oneshot::channel();
        let _ = self.orders.send(order(answer));
        outcome.await.map_err(|_| if self.room.is_closed() { CommitError::Stopping } else { died() })
    }

    async fn close(&self) {
        self.room.close();
        let (end, ended) = oneshot::channel();
        // If the thread has already ended, there is nothing to wait for.
        if self.orders.send(Order::End(end)).is_ok() {
            let _ = ended.await;
        }
    }
}

fn died() -> CommitError {
    CommitError::Failed(EngineError::new(THREAD_DIED))
}

const THREAD_DIED: &str = "its thread died; this is a fault of the host";

/// Sets the store's trouble if the thread that writes panics, because nothing is written any more then.
struct FailOnExit(Arc<Shared>);

impl Drop for FailOnExit {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.health.set(Some(Trouble { since_ms: now_ms(), reason: THREAD_DIED.into() }));
        }
    }
}
