//! The committer owns the engine. It writes all waiting drafts with one sync, and reopens the engine after a failure.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::backing::PageReads;
use super::batch::{self, Batch, CommitError, has_conflict};
use super::counts::StoreCounts;
use super::delivery_board::DeliveryBoard;
use super::draft::{Draft, Seen};
use super::engine::{Engine, EngineError, Writes};
use super::health::{Attempts, Health, now_ms};
use super::ids::{Ids, LEASE_MS};
use super::job_board::JobBoard;
use super::ledger::Ledger;
use super::log::LogCounts;
use super::metadata;
use super::recent::Recent;
use super::revision::Revision;
use bennu_semantics::limits::StoreLimits;

/// State that the committer shares with all handles of the store.
pub(super) struct Shared {
    /// The snapshot that new calls read. The committer replaces it after each batch.
    pub(super) seen: ArcSwap<Seen>,
    /// The keys that were written lately. The committer adds to it, and other threads search it in `is_current`.
    pub(super) recent: Mutex<Recent>,
    pub(super) limits: StoreLimits,
    pub(super) health: Arc<Health>,
    pub(super) ids: Ids,
    pub(super) page_reads: Arc<PageReads>,
    pub(super) log_counts: Arc<LogCounts>,
    /// One permit, for one export at a time of a running host.
    pub(super) exporting: Arc<Semaphore>,
    pub(super) counts: StoreCounts,
    /// The committer notes each batch before the next one.
    pub(super) jobs: Arc<JobBoard>,
    /// The same.
    pub(super) deliveries: Arc<DeliveryBoard>,
    /// Where drafts are committed, if other hosts write to the store, too. Then there is no engine, `recent` stays empty, and `seen`
    /// shows the latest rows at each read.
    pub(super) ledger: Option<Arc<dyn Ledger>>,
    /// Notified when a draft is refused because another generation serves in the cluster.
    pub(super) switched: Notify,
}

/// Owns the engine, and writes to it.
pub(super) struct Committer {
    engine: Box<dyn Engine>,
    shared: Arc<Shared>,
    /// The last written revision. It is later than the one in `shared.seen` if the engine gave no snapshot after a write.
    latest: Revision,
    /// How often the engine was reopened.
    opening: u64,
    /// The format of the engine's content.
    format: u64,
    attempts: Attempts,
    /// Whether the engine has given up its files for another process.
    is_released: bool,
    /// Whether the log already says that the clock is behind the ids.
    is_clock_behind: bool,
}

/// A request to the committer.
pub(super) enum Order {
    Commit(PendingCommit),
    /// Writes the id mark. The result is sent if a caller waits for it.
    Mark(Option<oneshot::Sender<Result<(), EngineError>>>),
    /// Applies writes that don't come from a call, if nothing else was written since the revision.
    Apply(Writes, Revision, oneshot::Sender<Result<Revision, CommitError>>),
    /// Gives up the files, so that another process can open them.
    Release(oneshot::Sender<Result<(), CommitError>>),
    /// Opens the files again.
    Reclaim(oneshot::Sender<Result<(), CommitError>>),
    /// Ends the committer. The answer is sent once the engine is closed.
    End(oneshot::Sender<()>),
}

/// A draft that waits to be committed.
pub(super) struct PendingCommit {
    pub(super) draft: Draft,
    pub(super) answer: oneshot::Sender<Result<Revision, CommitError>>,
    /// Its share of `StoreLimits::waiting_bytes`, released just before the answer is sent.
    pub(super) permit: OwnedSemaphorePermit,
}

impl Shared {
    /// Whether no key that the draft has read was changed since the draft began.
    pub(super) fn is_current(&self, draft: &Draft) -> bool {
        draft.since() == self.seen.load().revision || !has_conflict(draft, &self.recent())
    }

    /// No change can panic half-way, so a poisoned lock is still valid.
    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Committer {
    /// Creates a committer that owns the engine. It writes the format version into an empty engine.
    ///
    /// # Errors
    /// If the engine fails, or its content has another format. That content isn't changed.
    pub(super) async fn new(mut engine: Box<dyn Engine>, limits: StoreLimits) -> Result<Self, EngineError> {
        let mut snapshot = engine.snapshot().await?;
        let format = match metadata::read_format(&*snapshot).await? {
            Some(format) => format,
            None => {
                engine.apply(&Writes::from([(metadata::format(), Some(metadata::entry(metadata::FORMAT)))])).await?;
                snapshot = engine.snapshot().await?;
                metadata::FORMAT
            }
        };
        let jobs = Arc::<JobBoard>::default();
        jobs.load(&*snapshot).await?;
        let deliveries = Arc::<DeliveryBoard>::default();
        deliveries.load(&*snapshot).await?;
        let ids = Ids::after(metadata::read(&*snapshot, &metadata::mark()).await?);
        let (revision, health) = (Revision::default(), Arc::<Health>::default());
        let seen = ArcSwap::from_pointee(Seen { revision, snapshot, opening: 0, health: Arc::clone(&health), limits });
        let recent = Mutex::new(Recent::new(limits.recent_bytes));
        // `Store::keep_ids` returns how far the clock is behind at the start, so that isn't logged a second time here.
        let is_clock_behind = ids.last_ms() > now_ms().saturating_add(LEASE_MS);
        let (page_reads, log_counts) = (engine.page_reads(), engine.log_counts());
        let exporting = Arc::new(Semaphore::new(1));
        let counts = StoreCounts::new(engine.postgres_counts());
        let shared = Arc::new(Shared {
            seen,
            recent,
            limits,
            health,
            ids,
            page_reads,
            log_counts,
            counts,
            exporting,
            jobs,
            deliveries,
            ledger: None,
            switched: Notify::new(),
        });
        let attempts = Attempts::default();
        Ok(Self { engine, shared, latest: revision, opening: 0, format, attempts, is_released: false, is_clock_behind })
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Processes the queue until an order ends it or all senders are dropped.
    pub(super) async fn run(mut self, mut queue: mpsc::UnboundedReceiver<Order>) {
        let shared = Arc::clone(&self.shared);
        let mut end = None;
        while end.is_none() {
            tokio::select! {
                // In this order, so that the recovery of the engine isn't delayed by many orders that are refused meanwhile.
                biased;
                () = self.attempts.wait() => self.try_again().await,
                () = shared.health.alarm.notified() => self.on_report(),
                order = queue.recv() => match order {
                    Some(order) => end = self.follow(order, &mut queue).await,
                    None => break,
                },
            }
        }
        self.end().await;
        // The engine is closed before the answer, so that the caller can open its file again at once.
        drop(self);
        if let Some(end) = end {
            let _ = end.send(());
        }
    }

    /// Processes an order together with the orders queued behind it, up to the size of a batch. Returns the sender to answer
    /// if one of the orders ends the committer.
    async fn follow(
        &mut self,
        order: Order,
        queue: &mut mpsc::UnboundedReceiver<Order>,
    ) -> Option<oneshot::Sender<()>> {
        let (mut end, mut waiting, mut apart) = (None, Vec::new(), Vec::new());
        let mut bytes = 0;
        let mut next = Some(order);
        while let Some(order) = next {
            match order {
                Order::Commit(one) => {
                    bytes += one.draft.weight();
                    waiting.push(one);
                }
                Order::End(ended) => end = Some(ended),
                order => apart.push(order),
            }
            let is_full = end.is_some() || bytes >= self.shared.limits.batch_bytes;
            next = if is_full { None } else { queue.try_recv().ok() };
        }
        let (drafts, answers): (Vec<_>, Vec<_>) =
            waiting.into_iter().map(|one| (one.draft, (one.answer, one.permit))).unzip();
        let outcomes = self.settle(&drafts).await;
        for ((answer, place), outcome) in answers.into_iter().zip(outcomes) {
            drop(place);
            // The receiver may be gone: a caller that stops waiting doesn't cancel its commit.
            let _ = answer.send(outcome);
        }
        for order in apart {
            match order {
                Order::Mark(answer) => {
                    let marked = self.mark().await;
                    let _ = answer.map(|answer| answer.send(marked));
                }
                Order::Apply(writes, since, answer) => {
                    let _ = answer.send(self.apply_apart(writes, since).await);
                }
                Order::Release(answer) => {
                    let _ = answer.send(self.release().await);
                }
                Order::Reclaim(answer) => {
                    let _ = answer.send(self.reclaim().await);
                }
                Order::Commit(_) | Order::End(_) => {}
            }
        }
        end
    }

    /// Commits drafts with one sync, with the same results as if they were committed one after another.
    pub(super) async fn settle(&mut self, drafts: &[Draft]) -> Vec<Result<Revision, CommitError>> {
        let outcomes = self.write_together(drafts).await;
        self.shared.counts.count_outcomes(&outcomes);
        outcomes
    }

    async fn write_together(&mut self, drafts: &[Draft]) -> Vec<Result<Revision, CommitError>> {
        if let Err(error) = self.ready().await {
            return drafts.iter().map(|_| Err(CommitError::Failed(error.clone()))).collect();
        }
        let seen = self.shared.seen.load_full();
        let revision = seen.revision.next();
        if seen.snapshot.is_remote()
            && let Err(error) = seen.snapshot.fetch(batch::places(drafts)).await
        {
            self.fail(&error);
            // Nothing was written, whatever is wrong with the engine.
            let failed = CommitError::Failed(EngineError::new(error));
            return drafts.iter().map(|_| Err(failed.clone())).collect();
        }
        let mut batch = Batch::new(&seen);
        let mut outcomes = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let is_late = has_conflict(draft, &self.shared.recent());
            let boards = (&*self.shared.jobs, &*self.shared.deliveries);
            let outcome = if is_late { Err(CommitError::Conflict) } else { batch.admit(draft, boards).await };
            outcomes.push(outcome.map(|()| revision));
        }
        if let Some(Err(CommitError::Failed(error))) = outcomes.iter().find(|outcome| is_broken(outcome)) {
            self.fail(&error.clone());
        }
        if batch.is_empty() {
            return outcomes;
        }
        let (mut writes, keys) = batch.finish();
        let mark = self.shared.ids.is_late().then(|| self.add_mark(&mut writes));
        self.add_format(&mut writes);
        if let Err(error) = self.write(&writes).await {
            let failed = |outcome: Result<Revision, CommitError>| outcome.and(Err(CommitError::Failed(error.clone())));
            return outcomes.into_iter().map(failed).collect();
        }
        (self.latest, self.format) = (revision, metadata::FORMAT);
        self.shared.recent().note(revision, keys.iter());
        self.note(&writes);
        self.written(mark).await;
        outcomes
    }

    /// Applies writes that don't come from a call. Calls in progress that have read anything get a conflict.
    pub(super) async fn apply_apart(&mut self, mut writes: Writes, since: Revision) -> Result<Revision, CommitError> {
        self.ready().await?;
        if self.latest != since {
            return Err(CommitError::Conflict);
        }
        self.add_format(&mut writes);
        self.write(&writes).await?;
        (self.latest, self.format) = (self.latest.next(), metadata::FORMAT);
        self.shared.recent().clear_up_to(self.latest);
        self.note(&writes);
        self.written(None).await;
        Ok(self.latest)
    }

    /// Writes the id mark.
    async fn mark(&mut self) -> Result<(), EngineError> {
        // If this write fails, the next batch contains the mark.
        self.shared.ids.ask();
        self.ready().await?;
        let mut writes = Writes::new();
        let mark = self.add_mark(&mut writes);
        self.add_format(&mut writes);
        self.write(&writes).await?;
        self.format = metadata::FORMAT;
        // No call reads the mark, so no new snapshot is needed.
        self.shared.ids.keep(mark);
        // A host that isn't ready gets no traffic. So the mark of the self-test must be enough to end a trouble.
        self.shared.health.recovered();
        Ok(())
    }

    /// Writes a batch to the engine, and counts it.
    ///
    /// # Errors
    /// Those of the engine, which has then failed.
    async fn write(&mut self, writes: &Writes) -> Result<(), EngineError> {
        let began = Instant::now();
        self.engine.apply(writes).await.inspect_err(|error| self.fail(error))?;
        self.shared.counts.count_batch(writes, began.elapsed());
        Ok(())
    }

    /// Writes the final id mark, and closes the engine.
    async fn end(&mut self) {
        if self.attempts.due.is_some() || self.is_released {
            return;
        }
        self.write_last_mark().await;
        if let Err(error) = self.engine.close().await {
            tracing::warn!("the store wasn't closed in order; the next start reads its log: {error}");
        }
    }

    /// Writes the final id mark, if marks are kept at all.
    async fn write_last_mark(&mut self) {
        if self.shared.ids.is_kept() {
            let mark = self.shared.ids.last_mark();
            let mut writes = Writes::from([(metadata::mark(), Some(metadata::entry(mark)))]);
            self.add_format(&mut writes);
            if let Err(error) = self.engine.apply(&writes).await {
                tracing::warn!(
                    "the last id mark wasn't written; the next start continues from the one before it: {error}"
                );
            }
        }
    }

    /// Closes the engine and gives up its files. All that was committed is in them.
    async fn release(&mut self) -> Result<(), CommitError> {
        self.ready().await?;
        self.write_last_mark().await;
        if let Err(error) = self.engine.release().await {
            self.fail(&error);
            return Err(error.into());
        }
        self.is_released = true;
        // Reads of old snapshots fail from now on, and that is no trouble of the store.
        self.opening += 1;
        Ok(())
    }

    /// Opens the files again, with all that another process has written to them meanwhile.
    async fn reclaim(&mut self) -> Result<(), CommitError> {
        if !self.is_released {
            return Ok(());
        }
        self.engine.reclaim().await?;
        let snapshot = self.engine.snapshot().await?;
        if let Some(mark) = metadata::read(&*snapshot, &metadata::mark()).await? {
            self.shared.ids.go_past(mark);
        }
        self.show_reopened().await?;
        self.is_released = false;
        self.mark().await?;
        Ok(())
    }

    /// Adds the format to the first batch of a store that has an earlier one. If the batch fails, the next one adds it again. So
    /// hosts that don't know the log refuse the store before the log has a record: the engine applies the first batch without it.
    fn add_format(&self, writes: &mut Writes) {
        if self.format != metadata::FORMAT {
            writes.insert(metadata::format(), Some(metadata::entry(metadata::FORMAT)));
        }
    }

    /// Adds the id mark to a batch, and returns it. Logs once if the clock is behind the ids.
    fn add_mark(&mut self, writes: &mut Writes) -> u64 {
        let now_ms = now_ms();
        let mark = self.shared.ids.next_mark(now_ms);
        let is_behind = mark > now_ms.saturating_add(2 * LEASE_MS);
        if is_behind && !std::mem::replace(&mut self.is_clock_behind, is_behind) {
            let behind = Duration::from_millis(mark - LEASE_MS - now_ms);
            tracing::warn!(
                "the clock is {behind:?} behind the ids that were drawn; new ids continue from the last one"
            );
        }
        self.is_clock_behind = is_behind;
        writes.insert(metadata::mark(), Some(metadata::entry(mark)));
        mark
    }

    /// Makes sure that the engine works, and that `shared.seen` shows all that was written.
    ///
    /// # Errors
    /// If the engine is broken and not reopened yet, or if it gives no snapshot.
    async fn ready(&mut self) -> Result<(), EngineError> {
        if self.is_released {
            return Err(EngineError::new("its files are handed over to another process"));
        }
        if self.attempts.due.is_some() {
            let reason = self.shared.health.trouble().map(|trouble| trouble.reason).unwrap_or_default();
            return Err(EngineError::new(format!("{reason}; the host reopens it as soon as that works")));
        }
        if self.shared.seen.load().revision != self.latest {
            self.show().await.inspect_err(|error| self.fail(error))?;
        }
        Ok(())
    }

    /// A batch was written, with an id mark in it if one is given. Publishes a snapshot with it, and ends any trouble.
    async fn written(&mut self, mark: Option<u64>) {
        if let Some(mark) = mark {
            self.shared.ids.keep(mark);
        }
        self.attempts.written();
        match self.show().await {
            Ok(()) => self.shared.health.recovered(),
            Err(error) => {
                tracing::error!("the store can't read its last writes yet: {error}");
                self.fail(&error);
            }
        }
    }

    /// Publishes a new snapshot, so that calls that begin from now on see all that was written.
    async fn show(&mut self) -> Result<(), EngineError> {
        let snapshot = self.engine.snapshot().await?;
        let (health, limits) = (Arc::clone(&self.shared.health), self.shared.limits);
        let seen = Seen { revision: self.latest, snapshot, opening: self.opening, health, limits };
        self.shared.seen.store(Arc::new(seen));
        Ok(())
    }

    /// Records that the engine failed. If the engine is broken, schedules the first attempt to reopen it.
    fn fail(&mut self, error: &EngineError) {
        self.shared.health.failed(error);
        if error.is_broken() && self.attempts.due.is_none() {
            self.attempts.schedule(Duration::ZERO);
        }
    }

    /// Handles the report of a call whose read failed.
    fn on_report(&mut self) {
        if let Some(error) = self.shared.health.take_report(self.opening).filter(|_| !self.is_released) {
            self.fail(&error);
        }
    }

    /// Tries to reopen the engine, and schedules the next attempt if that fails.
    async fn try_again(&mut self) {
        let began = Instant::now();
        match self.reopen().await {
            Ok(()) => {
                self.attempts.opened();
                self.shared.health.recovered();
            }
            Err(error) => {
                tracing::debug!("the store can't be reopened yet: {error}");
                self.attempts.schedule(began.elapsed());
            }
        }
    }

    /// Reopens the engine. A failed batch may now be stored completely or not at all. So calls in progress that have read
    /// anything get a conflict.
    async fn reopen(&mut self) -> Result<(), EngineError> {
        self.engine.reopen().await?;
        self.show_reopened().await
    }

    /// Publishes the content of the engine after it was opened again.
    async fn show_reopened(&mut self) -> Result<(), EngineError> {
        self.opening += 1;
        self.latest = self.latest.next();
        self.shared.recent().clear_up_to(self.latest);
        self.show().await?;
        // Nobody knows whether the failed batch is stored, or what another process has written.
        let seen = self.shared.seen.load_full();
        self.shared.jobs.load(&*seen.snapshot).await?;
        self.shared.deliveries.load(&*seen.snapshot).await
    }

    /// Notes the jobs and deliveries of a batch that was written.
    fn note(&self, writes: &Writes) {
        self.shared.jobs.note(writes);
        self.shared.deliveries.note(writes);
    }
}

fn is_broken(outcome: &Result<Revision, CommitError>) -> bool {
    matches!(outcome, Err(CommitError::Failed(error)) if error.is_broken())
}
