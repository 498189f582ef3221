//! A future that ends a call when its wall time is over.

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use super::call_kind::CallKind;
use super::epoch::EpochSignal;
use super::pool::Pool;
use crate::contract::Fault;
use crate::counts::Moment;

pin_project! {
    /// A call that must end within the wall time of its plugin. Most calls end at their first poll, so the timer is
    /// created only when a call first waits: a timer would cost such a call more than the locks of its turn. Until it
    /// first waits, a guest runs for at most one epoch.
    pub(super) struct Within<'a, F> {
        #[pin]
        work: F,
        // Armed before each poll, so that epochs pass while the guest runs.
        signal: &'a EpochSignal,
        // The limit and the counts of the plugin. Only a pointer to them, because each call allocates this future.
        pool: &'a Pool,
        kind: CallKind,
        // When it began, if it is timed.
        began: Option<Moment>,
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<'a, F> Within<'a, F> {
    pub(super) fn new(signal: &'a EpochSignal, pool: &'a Pool, kind: CallKind, work: F) -> Self {
        // Most calls are not timed: reading the clock twice would cost one percent of a short call.
        let began = pool.usage.is_timed(kind).then(Moment::now);
        Self { work, signal, pool, kind, began, timer: None }
    }
}

impl<T, F: Future<Output = Result<T, Fault>>> Future for Within<'_, F> {
    type Output = Result<T, Fault>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.signal.arm();
        if let Poll::Ready(done) = this.work.poll(context) {
            if done.is_err() {
                this.pool.usage.count_fault();
            }
            if this.began.is_some() || this.timer.is_some() {
                count_duration(this.pool, *this.kind, *this.began, this.timer.is_some());
            }
            return Poll::Ready(done);
        }
        let limit = this.pool.wall();
        if this.timer.is_none() {
            // The timer reads the clock too.
            this.began.get_or_insert_with(Moment::now);
        }
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        if timer.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        this.pool.usage.count_too_long(*this.kind);
        count_duration(this.pool, *this.kind, *this.began, true);
        Poll::Ready(Err(Fault::wall_time(limit.as_millis())))
    }
}

/// Counts the duration of a call that was timed.
#[cold]
fn count_duration(pool: &Pool, kind: CallKind, began: Option<Moment>, has_waited: bool) {
    let Some(began) = began else { return };
    let took = began.elapsed();
    if has_waited { pool.usage.add_waited(took) } else { pool.usage.add_short(kind, took) }
}
