//! The stream of an HTTP connection, which knows whether an answer that must not be lost was written.
//!
//! An answer's body may hold a [`Receipt`]. hyper takes the body to write it, and says nothing of what becomes of it; but it
//! flushes the stream behind it, and drops the stream where it couldn't write. So the body leaves its receipt with the connection
//! when it is taken, and the stream fulfils it at the next flush.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

#[cfg(not(target_os = "linux"))]
use tokio::io::Interest;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// What an answer holds until it is written. Dropping it tells that the answer is lost.
pub(super) struct Receipt {
    written: oneshot::Sender<()>,
    is_revoked: Arc<AtomicBool>,
}

/// The other half of a receipt.
pub(super) struct Delivery {
    written: oneshot::Receiver<()>,
    is_revoked: Arc<AtomicBool>,
}

/// The receipts of what hyper has taken to write and hasn't flushed yet. Answers on one connection are written one after another,
/// so there is hardly ever more than one.
#[derive(Default)]
pub(super) struct Receipts(Mutex<Vec<Receipt>>);

/// A stream with the receipts of what is written to it.
pub(super) struct TrackedStream {
    stream: TcpStream,
    receipts: Arc<Receipts>,
}

impl Receipt {
    /// A receipt, and what tells of it.
    pub(super) fn new() -> (Self, Delivery) {
        let (send, written) = oneshot::channel();
        let is_revoked = Arc::<AtomicBool>::default();
        (Self { written: send, is_revoked: Arc::clone(&is_revoked) }, Delivery { written, is_revoked })
    }

    /// The answer is written.
    fn fulfil(self) {
        // Who gave it may no longer want to know.
        let _ = self.written.send(());
    }
}

impl Delivery {
    /// Waits until it is known whether the answer was written: to the operating system, which tells no more.
    pub(super) async fn is_written(&mut self) -> bool {
        (&mut self.written).await.is_ok()
    }

    /// The answer must not be written any more: its connection ends at the next try.
    pub(super) fn revoke(self) {
        // A flag alone: what it is about stays where it is.
        self.is_revoked.store(true, Ordering::Relaxed);
    }
}

impl Receipts {
    pub(super) fn add(&self, receipt: Receipt) {
        self.lock().push(receipt);
    }

    fn fulfil(&self) {
        self.lock().drain(..).for_each(Receipt::fulfil);
    }

    /// Nothing in here can panic half-way through a change, so a poisoned lock is as good as another.
    fn lock(&self) -> MutexGuard<'_, Vec<Receipt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TrackedStream {
    pub(super) fn new(stream: TcpStream, receipts: Arc<Receipts>) -> Self {
        Self { stream, receipts }
    }

    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Refuses to write an answer with a receipt where it would be lost: it was revoked, or the client has closed its side. hyper
    /// looks for that itself while it waits for an answer, but not where bytes of another request came in between.
    fn check(&self) -> io::Result<()> {
        let receipts = self.receipts.lock();
        if receipts.is_empty() {
            return Ok(());
        }
        let is_revoked = receipts.iter().any(|receipt| receipt.is_revoked.load(Ordering::Relaxed));
        drop(receipts);
        if is_revoked || self.is_read_closed() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }

    /// The operating system is asked, which knows it at once. hyper's own readiness tells only what its driver has heard.
    #[cfg(target_os = "linux")]
    fn is_read_closed(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut ends = [PollFd::new(&self.stream, PollFlags::RDHUP)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut ends, Some(&now)).is_ok_and(|count| count > 0)
    }

    #[cfg(not(target_os = "linux"))]
    fn is_read_closed(&self) -> bool {
        use std::pin::pin;
        use std::task::Waker;
        let readiness = pin!(self.stream.ready(Interest::READABLE));
        // Nobody is woken for it: it is asked again before the next write.
        match readiness.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(ready)) => ready.is_read_closed(),
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        }
    }
}

impl AsyncRead for TrackedStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for TrackedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes once all that it has taken is written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.receipts.fulfil();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> io::Result<(TcpStream, TrackedStream, Arc<Receipts>)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let client = TcpStream::connect(listener.local_addr()?).await?;
        let (stream, _) = listener.accept().await?;
        let receipts = Arc::<Receipts>::default();
        Ok((client, TrackedStream::new(stream, Arc::clone(&receipts)), receipts))
    }

    #[tokio::test]
    async fn what_is_flushed_is_written_and_what_is_dropped_is_not() -> io::Result<()> {
        let (_client, mut stream, receipts) = pair().await?;
        let (receipt, mut delivery) = Receipt::new();
        receipts.add(receipt);
        stream.write_all(b"answer").await?;
        stream.flush().await?;
        assert!(delivery.is_written().await);
        let (receipt, mut delivery) = Receipt::new();
        receipts.add(receipt);
        drop((stream, receipts));
        assert!(!delivery.is_written().await);
        Ok(())
    }

    #[tokio::test]
    async fn nothing_with_a_receipt_is_written_to_who_has_closed_or_for_nobody() -> io::Result<()> {
        let (client, mut stream, receipts) = pair().await?;
        let (receipt, delivery) = Receipt::new();
        receipts.add(receipt);
        delivery.revoke();
        assert!(stream.write(b"answer").await.is_err());
        receipts.lock().clear();
        stream.write_all(b"another answer").await?;
        drop(client);
        stream.stream.ready(tokio::io::Interest::READABLE).await?;
        let (receipt, _delivery) = Receipt::new();
        receipts.add(receipt);
        assert!(stream.write(b"answer").await.is_err());
        Ok(())
    }
}
