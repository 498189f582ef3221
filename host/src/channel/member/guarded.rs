//! A member's turn while it runs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use pin_project_lite::pin_project;

use super::channel::Channel;
use super::ending::panicked;

pin_project! {
    /// A member's turn, with the work that must follow it however it ends.
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
            Err(_) => panicked(this.channel),
        }
        this.channel.count_out();
        Poll::Ready(())
    }
}

/// A turn of a member. After a panic in it, the member ends and the queue continues.
pub(in crate::channel::member) fn guarded(
    channel: &Arc<Channel>,
    work: impl Future<Output = ()> + Send + 'static,
) -> BoxFuture<'static, ()> {
    Box::pin(Guarded { channel: Arc::clone(channel), work })
}
