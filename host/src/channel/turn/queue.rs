//! A turn queue: jobs that run one after another.
//!
//! The queue doesn't know what a job is. At most one thread or task drains a queue at a time, and a queue without jobs
//! has neither a task nor a buffer.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::gate::{TurnGate, TurnPermit};
use crate::protocol::Topic;
use crate::pubsub::{AfterTurn, Pressure, poll_once};

/// One turn that waits in a queue: of a member, or of a topic itself.
pub(in crate::channel) trait Job: Send + 'static {
    /// The topic that it is about, for the log.
    fn topic(&self) -> &Topic;

    /// The backpressure under which its turn doesn't begin.
    fn pressure(&self) -> &Arc<Pressure>;

    /// The gate of the host's turns.
    fn gate(&self) -> &Arc<TurnGate>;

    /// Runs the turn as far as nothing has to wait. Returns the rest of it, if there may be one. It is called once.
    fn begin(&mut self) -> Option<BoxFuture<'static, ()>>;

    /// Runs the work that follows the turn, even after a panic in the turn, and returns its rest as `begin` does.
    fn finish(&mut self) -> Option<BoxFuture<'static, ()>>;
}

impl Job for Box<dyn Job> {
    fn topic(&self) -> &Topic {
        (**self).topic()
    }

    fn pressure(&self) -> &Arc<Pressure> {
        (**self).pressure()
    }

    fn gate(&self) -> &Arc<TurnGate> {
        (**self).gate()
    }

    fn begin(&mut self) -> Option<BoxFuture<'static, ()>> {
        (**self).begin()
    }

    fn finish(&mut self) -> Option<BoxFuture<'static, ()>> {
        (**self).finish()
    }
}

/// A queue of jobs. The queue itself has no limit: each caller of `post` counts and limits its own waiting jobs.
pub(in crate::channel) struct TurnQueue<J> {
    /// Held only to add or to take a job: never while a job runs, and no other lock is taken under it.
    inner: Mutex<Inner<J>>,
}

struct Inner<J> {
    jobs: VecDeque<J>,
    /// Whether it is being drained. Under the lock of the jobs, so that no job is added after the drain has found none
    /// and before it ends.
    is_draining: bool,
}

impl<J> Default for TurnQueue<J> {
    fn default() -> Self {
        Self { inner: Mutex::new(Inner { jobs: VecDeque::new(), is_draining: false }) }
    }
}

impl<J: Job> TurnQueue<J> {
    /// Adds a job. All jobs are added here. Returns the drain of the queue if nobody drains it.
    pub(in crate::channel) fn post(self: &Arc<Self>, job: J) -> Option<Drain<J>> {
        let mut inner = self.lock();
        if std::mem::replace(&mut inner.is_draining, true) {
            inner.jobs.push_back(job);
            return None;
        }
        // If no job runs or waits, the new job needs no place in the buffer.
        let permit = Some(job.gate().enter());
        Some(Drain { queue: Arc::clone(self), first: Some(job), permit })
    }

    /// Takes the next job. If there is none, the drain has ended.
    fn next(&self) -> Option<J> {
        let mut inner = self.lock();
        let next = inner.jobs.pop_front();
        inner.is_draining = next.is_some();
        if next.is_none() && inner.jobs.capacity() > 0 {
            // An idle channel keeps no memory for a buffer.
            inner.jobs = VecDeque::new();
        }
        next
    }

    /// No panic can leave the data half changed, so a poisoned lock is used like any other.
    fn lock(&self) -> MutexGuard<'_, Inner<J>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The work of draining a queue. Its owner must do it, in place or in a task.
#[must_use = "a queue that isn't drained runs no further job"]
pub(in crate::channel) struct Drain<J> {
    queue: Arc<TurnQueue<J>>,
    /// The job to begin with, if it isn't in the queue's buffer.
    first: Option<J>,
    /// Counts it in the gate of the host's turns. None while it waits at the closed gate.
    permit: Option<TurnPermit>,
}

/// A job whose turn has begun and waits for something.
struct UnderWay<J> {
    job: J,
    rest: BoxFuture<'static, ()>,
    /// Whether its turn is over, and `rest` is of the work that follows.
    is_finishing: bool,
}

impl<J: Job> Drain<J> {
    /// Drains in a task of its own.
    pub(in crate::channel) fn spawn(self) {
        self.spawn_run(None);
    }

    /// Drains in place for as long as nothing has to wait, and from then on in a task of its own. Most turns wait for
    /// nothing, and a task for each would cost more than the turn. The work that a turn defers is also done in place.
    ///
    /// It must not be called within a turn: turns would nest.
    pub(in crate::channel) fn run_here(mut self) {
        let after_turn = AfterTurn::here();
        let mut is_first = true;
        while let Some(job) = self.next() {
            // The caller has checked the pressure before the first turn. The other jobs may come from other clients, and may
            // never end. So under pressure they continue in a task, which waits until the pressure is low. At a closed gate,
            // the task waits too.
            if (!std::mem::take(&mut is_first) && job.pressure().is_high()) || !job.gate().is_open() {
                self.first = Some(job);
                return self.spawn();
            }
            let under_way = begin(job);
            // Deferred work has its own guard, so that a panic in it doesn't lose the rest of a turn.
            if catch_unwind(AssertUnwindSafe(|| after_turn.run())).is_err() {
                tracing::error!("a fault of the host: a turn panicked");
            }
            if under_way.is_some() {
                return self.spawn_run(under_way);
            }
        }
    }

    /// The future is boxed, because tokio aligns a task to 128 bytes. glibc doesn't use the place of an aligned allocation
    /// for the next one, so the tasks of joins would leave holes between the members.
    fn spawn_run(self, under_way: Option<UnderWay<J>>) {
        tokio::spawn(Box::pin(self.run(under_way)));
    }

    /// Ends a turn that is under way, and drains.
    async fn run(mut self, under_way: Option<UnderWay<J>>) {
        if let Some(UnderWay { mut job, rest, is_finishing }) = under_way {
            if AssertUnwindSafe(rest).catch_unwind().await.is_err() {
                panicked(&job);
            }
            if !is_finishing {
                finish(&mut job).await;
            }
        }
        while let Some(mut job) = self.next() {
            if !job.gate().is_open() {
                // Boxed because it is rare.
                let gate = Arc::clone(job.gate());
                if !Box::pin(self.wait_at(gate)).await {
                    // No turn begins any more. The loop drops the other jobs too.
                    continue;
                }
            }
            let turn = async {
                if job.pressure().is_high() {
                    // Boxed because it is rare. Otherwise each drain's task would need the memory for it.
                    let pressure = Arc::clone(job.pressure());
                    Box::pin(async move { pressure.hold_back().await }).await;
                }
                if let Some(rest) = job.begin() {
                    rest.await;
                }
            };
            if AssertUnwindSafe(turn).catch_unwind().await.is_err() {
                panicked(&job);
            }
            finish(&mut job).await;
        }
    }

    /// Waits until turns may begin. Returns false if none may begin any more.
    async fn wait_at(&mut self, gate: Arc<TurnGate>) -> bool {
        while !gate.is_open() {
            self.permit = None;
            if !gate.opened().await {
                return false;
            }
            // The gate may have been closed again before this.
            self.permit = Some(gate.enter());
        }
        true
    }

    fn next(&mut self) -> Option<J> {
        self.first.take().or_else(|| self.queue.next())
    }
}

/// Runs a job as far as nothing has to wait. A panic must not stop the queue, so the turn has a guard, and the work
/// that follows it another.
fn begin<J: Job>(mut job: J) -> Option<UnderWay<J>> {
    if let Some(rest) = guarded(&mut job, J::begin) {
        return Some(UnderWay { job, rest, is_finishing: false });
    }
    guarded(&mut job, J::finish).map(|rest| UnderWay { job, rest, is_finishing: true })
}

fn guarded<J: Job>(
    job: &mut J,
    step: impl FnOnce(&mut J) -> Option<BoxFuture<'static, ()>>,
) -> Option<BoxFuture<'static, ()>> {
    catch_unwind(AssertUnwindSafe(|| step(job).and_then(poll_once))).unwrap_or_else(|_| {
        panicked(job);
        None
    })
}

async fn finish<J: Job>(job: &mut J) {
    let work = async {
        if let Some(rest) = job.finish() {
            rest.await;
        }
    };
    if AssertUnwindSafe(work).catch_unwind().await.is_err() {
        panicked(job);
    }
}

/// Logs a panic, which is a fault of the host. The queue continues. If a member has lost something because of the panic,
/// the member ends in its own turn.
fn panicked<J: Job>(job: &J) {
    tracing::error!(topic = job.topic().as_str(), "a fault of the host: a turn panicked");
}
