//! A future that ends a call when its wall time is over.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

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
        limit: WallLimit<'a>,
    }
}

/// The wall time of a call, and how much of it was used.
pub(super) struct WallLimit<'a> {
    /// Armed before each poll, so that epochs pass while the guest runs.
    signal: &'a EpochSignal,
    /// The limit and the counts of the plugin. Only a pointer to them, because each call allocates this.
    pool: &'a Pool,
    kind: CallKind,
    /// When the call began, if it is timed.
    began: Option<Moment>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<'a> WallLimit<'a> {
    /// Begins the call's time.
    pub(super) fn begin(signal: &'a EpochSignal, pool: &'a Pool, kind: CallKind) -> Self {
        // Most calls are not timed: reading the clock twice would cost one percent of a short call.
        let began = pool.usage.is_timed(kind).then(Moment::now);
        Self { signal, pool, kind, began, timer: None }
    }

    /// A call whose work ends when the time is over. The work is large. It is given only to this function, which does nothing
    /// else, so that the compiler moves it in memory only once.
    #[inline]
    pub(super) fn of<F>(self, work: F) -> Within<'a, F> {
        Within { work, limit: self }
    }

    /// The call has ended.
    fn end(&self, is_fault: bool) {
        if is_fault {
            self.pool.usage.count_fault();
        }
        if self.began.is_some() || self.timer.is_some() {
            count_duration(self.pool, self.kind, self.began, self.timer.is_some());
        }
    }

    /// The call waits. Returns the fault if its time is over.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Fault> {
        let limit = self.pool.wall();
        if self.timer.is_none() {
            // The timer reads the clock too.
            self.began.get_or_insert_with(Moment::now);
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(timer.as_mut().poll(context));
        self.pool.usage.count_too_long(self.kind);
        count_duration(self.pool, self.kind, self.began, true);
        Poll::Ready(Fault::wall_time(limit.as_millis()))
    }
}

impl<T, F: Future<Output = Result<T, Fault>>> Future for Within<'_, F> {
    type Output = Result<T, Fault>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.limit.signal.arm();
        if let Poll::Ready(done) = this.work.poll(context) {
            this.limit.end(done.is_err());
            return Poll::Ready(done);
        }
        this.limit.poll(context).map(Err)
    }
}

/// Counts the duration of a call that was timed.
#[cold]
fn count_duration(pool: &Pool, kind: CallKind, began: Option<Moment>, has_waited: bool) {
    let Some(began) = began else { return };
    let took = began.elapsed();
    if has_waited { pool.usage.add_waited(took) } else { pool.usage.add_short(kind, took) }
}
