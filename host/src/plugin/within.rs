//! A call within its wall time.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use super::epoch::EpochSignal;
use crate::contract::{Fault, FaultKind, limit_key};

pin_project! {
    /// Work that has so long. Most waits for nothing and is done before a clock is looked at, which would cost it more than a
    /// turn's locks: until a guest first waits, it runs for no longer than an epoch.
    pub(super) struct Within<'a, F> {
        #[pin]
        work: F,
        // Wound before each poll: whatever the guest does next, its epochs pass.
        signal: &'a EpochSignal,
        limit: Duration,
        ticker: Option<Pin<Box<Sleep>>>,
    }
}

impl<'a, F> Within<'a, F> {
    pub(super) fn new(limit: Duration, signal: &'a EpochSignal, work: F) -> Self {
        Self { work, signal, limit, ticker: None }
    }
}

impl<T, F: Future<Output = Result<T, Fault>>> Future for Within<'_, F> {
    type Output = Result<T, Fault>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.signal.arm();
        if let Poll::Ready(done) = this.work.poll(context) {
            return Poll::Ready(done);
        }
        let limit = *this.limit;
        let ticker = this.ticker.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(ticker.as_mut().poll(context));
        let limit = limit.as_millis();
        let key = limit_key("call_wall_ms", limit);
        Poll::Ready(Err(Fault::new(FaultKind::Deadline, format!("the call took more than {limit} ms{key}"))))
    }
}
