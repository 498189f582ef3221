//! A future that ends a call when its wall time is over.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use super::epoch::EpochSignal;
use super::pool::Pool;
use crate::contract::Fault;

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
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<'a, F> Within<'a, F> {
    pub(super) fn new(signal: &'a EpochSignal, pool: &'a Pool, work: F) -> Self {
        Self { work, signal, pool, timer: None }
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
            return Poll::Ready(done);
        }
        let limit = this.pool.wall();
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(timer.as_mut().poll(context));
        this.pool.usage.count_too_long();
        Poll::Ready(Err(Fault::wall_time(limit.as_millis())))
    }
}
