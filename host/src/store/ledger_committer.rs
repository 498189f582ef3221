//! The committer of a host whose store is a [`Ledger`]: it commits all waiting drafts of a plugin together.
//!
//! Each plugin has one batch under way at a time, and no plugin waits for the batch of another one: conflicts, quotas and the ledger's
//! lock are those of one plugin. While a batch is under way, the drafts of its plugin wait, and are the next batch together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use bennu_semantics::limits::StoreLimits;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

use super::batch::CommitError;
use super::committer::{Order, PendingCommit, Shared};
use super::counts::StoreCounts;
use super::draft::{Draft, Seen};
use super::engine::{Direction, EngineError, ScanLimit, Writes};
use super::health::{Health, now_ms};
use super::ids::Ids;
use super::ledger::{Answer, DraftResult, Ledger};
use super::ledger_queue::{Chosen, LedgerQueue, REMEMBERED};
use super::metadata;
use super::recent::Recent;
use super::revision::Revision;
use super::space;

/// The time between two searches for what the ledger can forget.
const PRUNE_EVERY: Duration = Duration::from_secs(REMEMBERED.as_secs() / 4);

/// Commits to a ledger.
pub(super) struct LedgerCommitter {
    ledger: Arc<dyn Ledger>,
    shared: Arc<Shared>,
    /// By plugin. A plugin stays here until the host stops, so there are as many as plugins that have written.
    queues: HashMap<Box<str>, LedgerQueue>,
    under_way: FuturesUnordered<BoxFuture<'static, Done>>,
}

/// Something that has ended.
enum Done {
    Batch(Box<BatchDone>),
    Mark(u64, Result<(), EngineError>, Option<oneshot::Sender<Result<(), EngineError>>>),
    Pruned(Result<(), EngineError>),
}

struct BatchDone {
    plugin: Box<str>,
    drafts: Vec<Draft>,
    answers: Vec<(oneshot::Sender<Result<Revision, CommitError>>, OwnedSemaphorePermit)>,
    overtaken: Vec<PendingCommit>,
    result: Result<Answer, EngineError>,
    took: Duration,
}

impl Shared {
    /// What the handles of a store over a ledger share.
    ///
    /// # Errors
    /// If the ledger fails, or if its content has a format that this version can't read.
    pub(super) async fn of_ledger(
        ledger: Arc<dyn Ledger>,
        limits: StoreLimits,
        counts: StoreCounts,
    ) -> Result<Self, EngineError> {
        let latest = ledger.latest();
        match metadata::read_format(&*latest).await? {
            Some(metadata::FORMAT) => {}
            Some(_) | None => ledger.raise(metadata::format(), metadata::FORMAT).await?,
        }
        for (what, span) in space::kept_spans() {
            let one = ScanLimit { rows: 1, bytes: 0 };
            if !latest.scan(&span, Direction::Forward, one).await?.rows.is_empty() {
                tracing::warn!(
                    "the store has {what}, which a cluster doesn't use yet: they wait for a host without `[cluster]`"
                );
            }
        }
        let ids = Ids::after(metadata::read(&*latest, &metadata::mark()).await?);
        let health = Arc::<Health>::default();
        let seen = ArcSwap::from_pointee(Seen::of_ledger(latest, &health, limits));
        Ok(Self {
            seen,
            recent: Mutex::new(Recent::new(0)),
            limits,
            health,
            ids,
            page_reads: Arc::default(),
            log_counts: Arc::default(),
            exporting: Arc::new(Semaphore::new(1)),
            counts,
            jobs: Arc::default(),
            deliveries: Arc::default(),
            ledger: Some(ledger),
            switched: Notify::new(),
        })
    }

    /// Returns what a draft of a plugin reads.
    pub(super) fn seen_by(&self, plugin: &str) -> Arc<Seen> {
        match &self.ledger {
            None => self.seen.load_full(),
            Some(ledger) => Arc::new(Seen::of_ledger(ledger.view(plugin), &self.health, self.limits)),
        }
    }
}

impl LedgerCommitter {
    pub(super) fn new(ledger: Arc<dyn Ledger>, shared: Arc<Shared>) -> Self {
        Self { ledger, shared, queues: HashMap::new(), under_way: FuturesUnordered::new() }
    }

    /// Processes the queue until an order ends it, or all senders are dropped. What is under way is finished before.
    pub(super) async fn run(mut self, mut queue: mpsc::UnboundedReceiver<Order>) {
        let shared = Arc::clone(&self.shared);
        let mut prune = tokio::time::interval(PRUNE_EVERY);
        prune.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut end = None;
        let mut is_open = true;
        while is_open || !self.under_way.is_empty() {
            tokio::select! {
                biased;
                Some(done) = self.under_way.next(), if !self.under_way.is_empty() => self.finish(done),
                () = shared.health.alarm.notified() => self.on_report(),
                now = prune.tick(), if is_open => self.prune(now),
                order = queue.recv(), if is_open => match order {
                    Some(Order::End(ended)) => {
                        end = Some(ended);
                        is_open = false;
                    }
                    Some(order) => self.follow(order),
                    None => is_open = false,
                },
            }
        }
        self.end().await;
        if let Some(end) = end {
            let _ = end.send(());
        }
    }

    fn follow(&mut self, order: Order) {
        match order {
            Order::Commit(pending) => self.commit(pending),
            Order::Mark(answer) => self.mark(answer),
            Order::Apply(_, _, answer) => {
                let _ = answer.send(Err(EngineError::new("all hosts of the cluster must be stopped for this").into()));
            }
            Order::Release(answer) => {
                let why = "a host of a cluster isn't replaced by another process of this machine: start another host, and stop this one";
                let _ = answer.send(Err(EngineError::new(why).into()));
            }
            // It was never released.
            Order::Reclaim(answer) => {
                let _ = answer.send(Ok(()));
            }
            // `run` has handled it.
            Order::End(_) => {}
        }
    }

    fn commit(&mut self, pending: PendingCommit) {
        if let Some(what) = space::kept_from_nodes(&pending.draft.writes) {
            self.answer(pending, Err(CommitError::NotShared(what)));
            return;
        }
        let plugin: Box<str> = pending.draft.owner().name().into();
        let queue = self.queues.entry(plugin.clone()).or_default();
        queue.push(pending);
        if !queue.is_busy {
            self.begin(plugin);
        }
    }

    /// Begins the next batch of a plugin, if there are drafts.
    fn begin(&mut self, plugin: Box<str>) {
        let Some(queue) = self.queues.get_mut(&plugin) else { return };
        queue.is_busy = !queue.is_empty();
        if !queue.is_busy {
            return;
        }
        let Chosen { drafts, overtaken } = queue.choose(self.shared.limits.batch_bytes);
        let split = |pending: PendingCommit| (pending.draft, (pending.answer, pending.permit));
        let (drafts, answers): (Vec<Draft>, Vec<_>) = drafts.into_iter().map(split).unzip();
        let ledger = Arc::clone(&self.ledger);
        self.under_way.push(Box::pin(async move {
            let began = Instant::now();
            let result = ledger.commit(&plugin, &drafts).await;
            let took = began.elapsed();
            Done::Batch(Box::new(BatchDone { plugin, drafts, answers, overtaken, result, took }))
        }));
    }

    fn finish(&mut self, done: Done) {
        match done {
            Done::Batch(batch) => self.finish_batch(*batch),
            Done::Mark(mark, result, answer) => {
                self.note_result(result.as_ref());
                if result.is_ok() {
                    self.shared.ids.keep(mark);
                } else {
                    self.shared.ids.ask_again();
                }
                let _ = answer.map(|answer| answer.send(result));
            }
            Done::Pruned(Ok(())) => {}
            Done::Pruned(Err(error)) => tracing::debug!("old revisions can't be forgotten yet: {error}"),
        }
    }

    fn finish_batch(&mut self, batch: BatchDone) {
        let BatchDone { plugin, drafts, answers, overtaken, result, took } = batch;
        self.note_result(result.as_ref().map(|_| &()));
        if let Ok(answer) = &result {
            if answer.results.contains(&DraftResult::Stored) {
                let stored = drafts.iter().zip(&answer.results).filter(|(_, result)| **result == DraftResult::Stored);
                let writes: Writes = stored.flat_map(|(draft, _)| draft.writes.clone()).collect();
                self.shared.counts.count_batch(&writes, took);
            }
            if let Some(queue) = self.queues.get_mut(&plugin) {
                queue.past.note(answer.revision, Instant::now());
            }
        }
        let outcomes = outcomes(&drafts, result);
        self.shared.counts.count_outcomes(&outcomes);
        for ((answer, permit), outcome) in answers.into_iter().zip(outcomes) {
            drop(permit);
            // The receiver may be gone: a caller that stops waiting doesn't cancel its commit.
            let _ = answer.send(outcome);
        }
        for pending in overtaken {
            self.answer(pending, Err(CommitError::Conflict));
        }
        self.begin(plugin);
    }

    fn answer(&self, pending: PendingCommit, outcome: Result<Revision, CommitError>) {
        let outcomes = [outcome];
        self.shared.counts.count_outcomes(&outcomes);
        let [outcome] = outcomes;
        drop(pending.permit);
        let _ = pending.answer.send(outcome);
    }

    /// Raises the id mark of the store.
    fn mark(&mut self, answer: Option<oneshot::Sender<Result<(), EngineError>>>) {
        self.shared.ids.ask();
        let mark = self.shared.ids.next_mark(now_ms());
        let ledger = Arc::clone(&self.ledger);
        self.under_way.push(Box::pin(async move {
            let raised = ledger.raise(metadata::mark(), mark).await;
            Done::Mark(mark, raised, answer)
        }));
    }

    fn prune(&mut self, now: Instant) {
        for (plugin, queue) in &mut self.queues {
            let Some(up_to) = queue.past.take_old(now) else { continue };
            let (ledger, plugin) = (Arc::clone(&self.ledger), plugin.clone());
            self.under_way.push(Box::pin(async move { Done::Pruned(ledger.prune(&plugin, up_to).await) }));
        }
    }

    /// Handles the report of a call whose read failed.
    fn on_report(&self) {
        if let Some(error) = self.shared.health.take_report(0) {
            self.shared.health.failed(&error);
        }
    }

    /// Notes whether the ledger works. A host that isn't ready gets no traffic, so the mark of the self-test must be enough to end a
    /// trouble.
    fn note_result(&self, result: Result<&(), &EngineError>) {
        match result {
            Ok(()) => self.shared.health.recovered(),
            Err(error) => self.shared.health.failed(error),
        }
    }

    /// Writes the final id mark, and gives the ledger up.
    async fn end(self) {
        if self.shared.ids.is_kept()
            && let Err(error) = self.ledger.raise(metadata::mark(), self.shared.ids.last_mark()).await
        {
            tracing::warn!("the last id mark wasn't written: {error}");
        }
        if let Err(error) = self.ledger.close().await {
            tracing::debug!("the store wasn't closed in order: {error}");
        }
    }
}

/// Returns the outcome of each draft of a batch.
fn outcomes(drafts: &[Draft], result: Result<Answer, EngineError>) -> Vec<Result<Revision, CommitError>> {
    match result {
        Err(error) => drafts.iter().map(|_| Err(CommitError::Failed(error.clone()))).collect(),
        Ok(Answer { revision, results }) => drafts
            .iter()
            .zip(results)
            .map(|(draft, result)| match result {
                DraftResult::Stored => Ok(revision),
                DraftResult::Conflict => Err(CommitError::Conflict),
                DraftResult::OtherGeneration => Err(CommitError::OtherGeneration),
                DraftResult::OverQuota(bytes) => Err(CommitError::Quota { bytes, most: draft.owner().quota_bytes() }),
            })
            .collect(),
    }
}
