//! A turn under way.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use pin_project_lite::pin_project;

use super::Channel;

pin_project! {
    /// A member's turn, with what has to follow it however it ends.
    struct Guarded<F> {
        channel: Arc<Channel>,
        #[pin]
        work: F,
    }
}

impl<F: Future<Output = ()>> Future for Guarded<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        match catch_unwind(AssertUnwindSafe(|| this.work.poll(context))) {
            Ok(polled) => ready!(polled),
            Err(_) => this.channel.panicked(),
        }
        this.channel.count_out();
        Poll::Ready(())
    }
}

impl Channel {
    /// A turn of it. A panic in it must not leave the line standing still.
    pub(super) fn guarded(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) -> BoxFuture<'static, ()> {
        Box::pin(Guarded { channel: Arc::clone(self), work })
    }
}
