//! The one who writes: takes all that waits, and does it with one sync.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::batch::{Batch, Refusal, is_overtaken};
use super::books;
use super::draft::{Draft, Revision, Seen};
use super::engine::{Engine, EngineError, Writes};
use super::limits::StoreLimits;
use super::recent::Recent;

/// What the committer and everybody else look at.
pub(super) struct Shared {
    /// What calls that begin now see.
    pub(super) seen: ArcSwap<Seen>,
    recent: Mutex<Recent>,
    pub(super) limits: StoreLimits,
}

/// Owns the engine.
pub(super) struct Committer {
    engine: Box<dyn Engine>,
    shared: Arc<Shared>,
    /// What was written last. `shared` shows it, unless the engine gave no snapshot.
    latest: Revision,
}

/// What is put before the committer.
pub(super) enum Order {
    Commit(Waiting),
    /// To end, and to say so once the engine is closed.
    End(oneshot::Sender<()>),
}

/// A call that waits to be committed.
pub(super) struct Waiting {
    pub(super) draft: Draft,
    pub(super) answer: oneshot::Sender<Result<Revision, Refusal>>,
    /// Its part of what may wait, given back just before the answer.
    pub(super) place: OwnedSemaphorePermit,
}

impl Shared {
    /// Whether all that a draft has read is still so.
    pub(super) fn is_current(&self, draft: &Draft) -> bool {
        draft.seen.revision == self.seen.load().revision || !is_overtaken(draft, &self.recent())
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
        match books::read(&*snapshot, &books::format()).await? {
            Some(books::FORMAT) => {}
            Some(other) => {
                let known = books::FORMAT;
                return Err(EngineError::new(format!(
                    "its content has format {other}, and this version of bennu knows format {known}: \
                     export it with the version that wrote it, and import that here"
                )));
            }
            None => {
                engine.apply(&Writes::from([(books::format(), Some(books::entry(books::FORMAT)))])).await?;
                snapshot = engine.snapshot().await?;
            }
        }
        let seen = ArcSwap::from_pointee(Seen { revision: Revision::default(), snapshot });
        let recent = Mutex::new(Recent::new(limits.recent_bytes));
        Ok(Self { engine, shared: Arc::new(Shared { seen, recent, limits }), latest: Revision::default() })
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Does what the queue says, until it says to end or nobody is left who could.
    pub(super) async fn run(mut self, mut queue: mpsc::UnboundedReceiver<Order>) {
        let mut end = None;
        while end.is_none()
            && let Some(order) = queue.recv().await
        {
            let mut waiting = Vec::new();
            let mut bytes = 0;
            let mut next = Some(order);
            while let Some(order) = next {
                match order {
                    Order::Commit(one) => {
                        bytes += one.draft.weight();
                        waiting.push(one);
                    }
                    Order::End(ended) => end = Some(ended),
                }
                let is_full = end.is_some() || bytes >= self.shared.limits.batch_bytes;
                next = if is_full { None } else { queue.try_recv().ok() };
            }
            let (drafts, answers): (Vec<_>, Vec<_>) =
                waiting.into_iter().map(|one| (one.draft, (one.answer, one.place))).unzip();
            let outcomes = self.settle(&drafts).await;
            for ((answer, place), outcome) in answers.into_iter().zip(outcomes) {
                drop(place);
                // A call that waits no more has had its writes done all the same.
                let _ = answer.send(outcome);
            }
        }
        // First the engine, so that who was told may open it again.
        drop(self);
        if let Some(end) = end {
            let _ = end.send(());
        }
    }

    /// Commits calls, one as if after the other, with one sync.
    pub(super) async fn settle(&mut self, drafts: &[Draft]) -> Vec<Result<Revision, Refusal>> {
        if self.shared.seen.load().revision != self.latest
            && let Err(error) = self.show().await
        {
            return drafts.iter().map(|_| Err(Refusal::Failed(error.clone()))).collect();
        }
        let seen = self.shared.seen.load_full();
        let revision = seen.revision.next();
        let mut batch = Batch::new(&seen);
        let mut outcomes = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let is_late = is_overtaken(draft, &self.shared.recent());
            let outcome = if is_late { Err(Refusal::Overtaken) } else { batch.admit(draft).await };
            outcomes.push(outcome.map(|()| revision));
        }
        if batch.is_empty() {
            return outcomes;
        }
        let (writes, keys) = batch.finish();
        if let Err(error) = self.engine.apply(&writes).await {
            tracing::error!("the store can't be written: {error}");
            let failed = |outcome: Result<Revision, Refusal>| outcome.and(Err(Refusal::Failed(error.clone())));
            return outcomes.into_iter().map(failed).collect();
        }
        self.latest = revision;
        self.shared.recent().note(revision, keys.iter());
        if let Err(error) = self.show().await {
            tracing::error!("what the store has written can't be read yet: {error}");
        }
        outcomes
    }

    /// Has calls that begin from now on see what was written.
    async fn show(&mut self) -> Result<(), EngineError> {
        let snapshot = self.engine.snapshot().await?;
        self.shared.seen.store(Arc::new(Seen { revision: self.latest, snapshot }));
        Ok(())
    }
}
