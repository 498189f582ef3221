//! The one who writes: takes all that waits, and does it with one sync. Where the engine fails, it opens it anew.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::batch::{Batch, CommitError, has_conflict};
use super::draft::{Draft, Revision, Seen};
use super::engine::{Engine, EngineError, Writes};
use super::health::{Attempts, Health, Trouble, now_ms};
use super::ids::{Ids, LEASE_MS};
use super::limits::StoreLimits;
use super::metadata;
use super::recent::Recent;

/// What the committer and everybody else look at.
pub(super) struct Shared {
    /// What calls that begin now see.
    pub(super) seen: ArcSwap<Seen>,
    recent: Mutex<Recent>,
    pub(super) limits: StoreLimits,
    pub(super) health: Arc<Health>,
    pub(super) ids: Ids,
}

/// Owns the engine.
pub(super) struct Committer {
    engine: Box<dyn Engine>,
    shared: Arc<Shared>,
    /// What was written last. `shared` shows it, unless the engine gave no snapshot.
    latest: Revision,
    /// How often the engine was opened anew.
    opening: u64,
    attempts: Attempts,
    /// Whether the clock was said to be behind the ids.
    is_clock_behind: bool,
}

/// What is put before the committer.
pub(super) enum Order {
    Commit(PendingCommit),
    /// To write the mark of the ids, and to say whether that is done if somebody waits for it.
    Mark(Option<oneshot::Sender<Result<(), EngineError>>>),
    /// To write what no call has, if nothing else was written since that revision.
    Apply(Writes, Revision, oneshot::Sender<Result<Revision, CommitError>>),
    /// To end, and to say so once the engine is closed.
    End(oneshot::Sender<()>),
}

/// A call that waits to be committed.
pub(super) struct PendingCommit {
    pub(super) draft: Draft,
    pub(super) answer: oneshot::Sender<Result<Revision, CommitError>>,
    /// Its part of what may wait, given back just before the answer.
    pub(super) permit: OwnedSemaphorePermit,
}

impl Shared {
    /// Whether all that a draft has read is still so.
    pub(super) fn is_current(&self, draft: &Draft) -> bool {
        draft.seen.revision == self.seen.load().revision || !has_conflict(draft, &self.recent())
    }

    /// Nothing in here can panic half-way through a change, so a poisoned lock is as good as another.
    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Committer {
    /// Takes an engine over: a new one is marked with the format, and one that isn't known is left alone.
    ///
    /// # Errors
    /// Where the engine fails, or its content was written in another format.
    pub(super) async fn new(mut engine: Box<dyn Engine>, limits: StoreLimits) -> Result<Self, EngineError> {
        let mut snapshot = engine.snapshot().await?;
        match metadata::read(&*snapshot, &metadata::format()).await? {
            Some(metadata::FORMAT) => {}
            Some(other) => {
                let known = metadata::FORMAT;
                return Err(EngineError::new(format!(
                    "its content has format {other}, and this version of bennu knows format {known}: \
                     export it with the version that wrote it, and import that here"
                )));
            }
            None => {
                engine.apply(&Writes::from([(metadata::format(), Some(metadata::entry(metadata::FORMAT)))])).await?;
                snapshot = engine.snapshot().await?;
            }
        }
        let ids = Ids::after(metadata::read(&*snapshot, &metadata::mark()).await?);
        let (revision, health) = (Revision::default(), Arc::<Health>::default());
        let seen = ArcSwap::from_pointee(Seen { revision, snapshot, opening: 0, health: Arc::clone(&health) });
        let recent = Mutex::new(Recent::new(limits.recent_bytes));
        // Whoever keeps ids says at the start how far the clock is behind.
        let is_clock_behind = ids.last_ms() > now_ms().saturating_add(LEASE_MS);
        let shared = Arc::new(Shared { seen, recent, limits, health, ids });
        Ok(Self { engine, shared, latest: revision, opening: 0, attempts: Attempts::default(), is_clock_behind })
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Does what the queue says, until it says to end or nobody is left who could.
    pub(super) async fn run(mut self, mut queue: mpsc::UnboundedReceiver<Order>) {
        let shared = Arc::clone(&self.shared);
        let mut end = None;
        while end.is_none() {
            tokio::select! {
                // First what mends the engine, however many orders there are to refuse.
                biased;
                () = self.attempts.wait() => self.try_again().await,
                () = shared.health.alarm.notified() => self.hear(),
                order = queue.recv() => match order {
                    Some(order) => end = self.follow(order, &mut queue).await,
                    None => break,
                },
            }
        }
        self.leave_mark().await;
        // First the engine, so that who was told may open it again.
        drop(self);
        if let Some(end) = end {
            let _ = end.send(());
        }
    }

    /// Follows an order, together with those that wait behind it, as many as make a batch. Gives whom to tell if one says to end.
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
            // A call that waits no more has had its writes done all the same.
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
                Order::Commit(_) | Order::End(_) => {}
            }
        }
        end
    }

    /// Commits calls, one as if after the other, with one sync.
    pub(super) async fn settle(&mut self, drafts: &[Draft]) -> Vec<Result<Revision, CommitError>> {
        if let Err(error) = self.ready().await {
            return drafts.iter().map(|_| Err(CommitError::Failed(error.clone()))).collect();
        }
        let seen = self.shared.seen.load_full();
        let revision = seen.revision.next();
        let mut batch = Batch::new(&seen);
        let mut outcomes = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let is_late = has_conflict(draft, &self.shared.recent());
            let outcome = if is_late { Err(CommitError::Conflict) } else { batch.admit(draft).await };
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
        if let Err(error) = self.engine.apply(&writes).await {
            self.fail(&error);
            let failed = |outcome: Result<Revision, CommitError>| outcome.and(Err(CommitError::Failed(error.clone())));
            return outcomes.into_iter().map(failed).collect();
        }
        self.latest = revision;
        self.shared.recent().note(revision, keys.iter());
        self.written(mark).await;
        outcomes
    }

    /// Writes what no call has. Calls that are under way run again.
    pub(super) async fn apply_apart(&mut self, writes: Writes, since: Revision) -> Result<Revision, CommitError> {
        self.ready().await?;
        if self.latest != since {
            return Err(CommitError::Conflict);
        }
        if let Err(error) = self.engine.apply(&writes).await {
            self.fail(&error);
            return Err(error.into());
        }
        self.latest = self.latest.next();
        self.shared.recent().forget(self.latest);
        self.written(None).await;
        Ok(self.latest)
    }

    /// Writes the mark of the ids.
    async fn mark(&mut self) -> Result<(), EngineError> {
        // Where it fails, the next batch has it.
        self.shared.ids.ask();
        self.ready().await?;
        let mut writes = Writes::new();
        let mark = self.add_mark(&mut writes);
        if let Err(error) = self.engine.apply(&writes).await {
            self.fail(&error);
            return Err(error);
        }
        // No call reads it, so no snapshot has to show it.
        self.shared.ids.keep(mark);
        Ok(())
    }

    /// Writes the mark as it is at the end, if it was kept.
    async fn leave_mark(&mut self) {
        if self.attempts.due.is_none() && self.shared.ids.is_kept() {
            let mark = self.shared.ids.last_mark();
            let writes = Writes::from([(metadata::mark(), Some(metadata::entry(mark)))]);
            if let Err(error) = self.engine.apply(&writes).await {
                tracing::warn!(
                    "the last mark of the ids wasn't written; the next start goes on from the one before: {error}"
                );
            }
        }
    }

    /// Adds the mark of the ids to what is written.
    fn add_mark(&mut self, writes: &mut Writes) -> u64 {
        let now_ms = now_ms();
        let mark = self.shared.ids.next_mark(now_ms);
        let is_behind = mark > now_ms.saturating_add(2 * LEASE_MS);
        if is_behind && !std::mem::replace(&mut self.is_clock_behind, is_behind) {
            let behind = Duration::from_millis(mark - LEASE_MS - now_ms);
            tracing::warn!("the clock is {behind:?} behind the ids that were drawn; they go on from the last one");
        }
        self.is_clock_behind = is_behind;
        writes.insert(metadata::mark(), Some(metadata::entry(mark)));
        mark
    }

    /// What it can write to, with all that was written shown.
    ///
    /// # Errors
    /// While the engine is broken, and where it gives no snapshot.
    async fn ready(&mut self) -> Result<(), EngineError> {
        if self.attempts.due.is_some() {
            let reason = self.shared.health.trouble().map(|trouble| trouble.reason).unwrap_or_default();
            return Err(EngineError::new(format!("{reason}; the host opens it anew as soon as that works")));
        }
        if self.shared.seen.load().revision != self.latest {
            self.show().await.inspect_err(|error| self.fail(error))?;
        }
        Ok(())
    }

    /// Something was written: it is shown, and the store works.
    async fn written(&mut self, mark: Option<u64>) {
        if let Some(mark) = mark {
            self.shared.ids.keep(mark);
        }
        self.attempts.written();
        match self.show().await {
            Ok(()) => self.recovered(),
            Err(error) => {
                tracing::error!("what the store has written can't be read yet: {error}");
                self.fail(&error);
            }
        }
    }

    /// Has calls that begin from now on see what was written.
    async fn show(&mut self) -> Result<(), EngineError> {
        let snapshot = self.engine.snapshot().await?;
        let health = Arc::clone(&self.shared.health);
        self.shared.seen.store(Arc::new(Seen { revision: self.latest, snapshot, opening: self.opening, health }));
        Ok(())
    }

    /// The engine failed. If it is broken, it is opened anew in a while.
    fn fail(&mut self, error: &EngineError) {
        if self.shared.health.trouble().is_none() {
            tracing::error!("the store has failed: {error}");
            self.shared.health.set(Some(Trouble { since_ms: now_ms(), reason: error.to_string() }));
        }
        if error.is_broken() && self.attempts.due.is_none() {
            self.attempts.schedule(Duration::ZERO);
        }
    }

    /// A call couldn't read.
    fn hear(&mut self) {
        if let Some(error) = self.shared.health.take_report(self.opening) {
            self.fail(&error);
        }
    }

    /// Opens the engine anew.
    async fn try_again(&mut self) {
        let began = Instant::now();
        match self.reopen().await {
            Ok(()) => {
                self.attempts.opened();
                self.recovered();
            }
            Err(error) => {
                tracing::debug!("the store can't be opened anew yet: {error}");
                self.attempts.schedule(began.elapsed());
            }
        }
    }

    /// What had failed may be there, all of it or nothing, and so calls that have read before that run again.
    async fn reopen(&mut self) -> Result<(), EngineError> {
        self.engine.reopen().await?;
        self.opening += 1;
        self.latest = self.latest.next();
        self.shared.recent().forget(self.latest);
        self.show().await
    }

    fn recovered(&self) {
        if let Some(trouble) = self.shared.health.trouble() {
            let lasted = Duration::from_millis(now_ms().saturating_sub(trouble.since_ms));
            tracing::warn!("the store works again, after {lasted:?}: {}", trouble.reason);
            self.shared.health.set(None);
        }
    }
}

fn is_broken(outcome: &Result<Revision, CommitError>) -> bool {
    matches!(outcome, Err(CommitError::Failed(error)) if error.is_broken())
}
