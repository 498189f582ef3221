//! The stream of an HTTP connection. It tracks whether an answer that must not be lost was written.
//!
//! An answer's body may contain a [`Receipt`]. hyper takes the body to write it, and doesn't report whether that succeeded.
//! But it flushes the stream after the body, and drops the stream if it couldn't write. So when hyper takes the body, the
//! body passes its receipt to the connection, and the stream fulfils the receipt at the next flush.

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

/// Belongs to an answer until the answer is written. Dropping it without fulfilling it means that the answer is lost.
pub(super) struct Receipt {
    written: oneshot::Sender<()>,
    is_revoked: Arc<AtomicBool>,
}

/// The other half of a receipt, for the sender of the answer.
pub(super) struct Delivery {
    written: oneshot::Receiver<()>,
    is_revoked: Arc<AtomicBool>,
}

/// The receipts of the answers that hyper has taken and not flushed yet. Answers on one connection are written one after
/// another, so there is rarely more than one.
///
/// Behind a lock, because both the connection's stream and the bodies of its answers use it.
#[derive(Default)]
pub(super) struct Receipts(Mutex<Vec<Receipt>>);

/// A stream with the receipts of the answers that are written to it.
pub(super) struct TrackedStream {
    stream: TcpStream,
    receipts: Arc<Receipts>,
}

impl Receipt {
    /// Creates a receipt with its delivery.
    pub(super) fn new() -> (Self, Delivery) {
        let (send, written) = oneshot::channel();
        let is_revoked = Arc::<AtomicBool>::default();
        (Self { written: send, is_revoked: Arc::clone(&is_revoked) }, Delivery { written, is_revoked })
    }

    /// Reports that the answer was written.
    pub(super) fn fulfil(self) {
        // The sender of the answer may have stopped waiting.
        let _ = self.written.send(());
    }
}

impl Delivery {
    /// Waits until it is known whether the answer was written, and returns that. It means written to the operating system:
    /// the host can't know whether the client has received the answer.
    pub(super) async fn is_written(&mut self) -> bool {
        (&mut self.written).await.is_ok()
    }

    /// Forbids that the answer is written. The next attempt to write it ends the connection.
    pub(super) fn revoke(self) {
        // Relaxed is enough, because the flag doesn't publish other data.
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

    /// No change can panic half-way, so a poisoned lock is still valid.
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

    /// Checks that a write may continue. An answer with a receipt must not be written if it was revoked, or if the client
    /// has closed its side. hyper itself checks for a closed client while it waits for an answer, but not if bytes of
    /// another request came in between.
    ///
    /// # Errors
    /// [`ErrorKind::BrokenPipe`], which makes hyper drop the connection and so the receipts.
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

    /// Whether the client has closed its side. This asks the operating system, because tokio's readiness can be out of date.
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
        // No waker is needed, because this is asked again before the next write.
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

    /// Fulfils the receipts: hyper flushes once all answers that it has taken are written.
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
    async fn a_flushed_answer_counts_as_written_and_a_dropped_one_does_not() -> io::Result<()> {
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
    async fn a_revoked_answer_and_one_to_a_closed_client_are_not_written() -> io::Result<()> {
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
