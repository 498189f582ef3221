//! A socket's bounded queue of encoded frames.
//!
//! Anybody pushes, and the socket's driver takes all that is queued and writes it in one go. A driver is a task, which waits
//! by polling, or an [`OutboxWaker`], which is woken. A subscriber that reads too slowly costs nobody anything: its outbox overflows,
//! drops what it holds, and has the connection closed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use super::queue::Queue;
use crate::protocol::{CloseCode, Frame};

/// How much an outbox holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxLimits {
    /// Frames. Past it the connection is closed as a slow consumer.
    pub frames: usize,
    /// Bytes of those frames; past it likewise. A single frame is always taken.
    pub bytes: usize,
}

impl Default for OutboxLimits {
    fn default() -> Self {
        Self { frames: 1024, bytes: 4 << 20 }
    }
}

/// What wakes the driver of many outboxes. It is rung once for an outbox, until its driver has looked into that.
pub trait OutboxWaker: Send + Sync {
    /// The outbox with this number wants its driver. It must not wait, and may be rung for one that is gone.
    fn wake(&self, number: usize);

    /// The outbox with this number has filled to a quarter: it is to be emptied before much more is done that fills it.
    fn request_flush(&self, number: usize);
}

/// A bounded queue of frames, and what else its driver is woken for.
pub struct Outbox {
    limits: OutboxLimits,
    inner: Mutex<Inner>,
    /// The bell of a driver that has one, and the number that it knows this outbox by.
    waker: OnceLock<(Arc<dyn OutboxWaker>, usize)>,
}

#[derive(Default)]
struct Inner {
    frames: Queue,
    bytes: usize,
    /// Set once; no frame is taken after it.
    closing: Option<CloseCode>,
    /// Whether the driver is to look again at what it held back.
    nudged: bool,
    /// Whether the driver was woken and hasn't looked since.
    called: bool,
    driver: Option<Waker>,
}

/// What the driver has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// The frames that it was given are to be written.
    Frames,
    /// The connection is to be closed, after the frames that it was given.
    Close(CloseCode),
    /// Something that it held back may go on.
    Nudge,
}

/// The most bytes that a driver takes at once: what it holds while it writes comes on top of the outbox's limit.
const BATCH_BYTES_MAX: usize = 256 << 10;

impl Outbox {
    /// An empty outbox.
    #[must_use]
    pub fn new(limits: OutboxLimits) -> Self {
        Self { limits, inner: Mutex::default(), waker: OnceLock::new() }
    }

    /// From now on its driver is woken by this bell. Once; a second bell is ignored.
    pub fn set_waker(&self, waker: &Arc<dyn OutboxWaker>, number: usize) {
        if self.waker.set((Arc::clone(waker), number)).is_ok() {
            // Something may have come before.
            waker.wake(number);
        }
    }

    /// Queues a frame. In an outbox that is closing or full it is dropped; a full one starts to close.
    pub fn push(&self, frame: Frame) {
        let mut inner = self.lock();
        if inner.closing.is_some() {
            return;
        }
        let bytes = inner.bytes + frame.len();
        let is_full = inner.frames.len() >= self.limits.frames || (bytes > self.limits.bytes && inner.bytes > 0);
        if is_full {
            inner.frames = Queue::default();
            inner.bytes = 0;
            inner.closing = Some(CloseCode::SlowConsumer);
            inner.called = false;
        } else {
            let was_short = inner.is_short(self.limits);
            inner.bytes = bytes;
            inner.frames.push(frame);
            if was_short
                && !inner.is_short(self.limits)
                && let Some((waker, number)) = self.waker.get()
            {
                // Under the lock: whoever pushes next must find that this was said.
                waker.request_flush(*number);
            }
        }
        self.notify(inner);
    }

    /// Queues a frame that may be left out, unless what is queued already is more than a quarter of what may be, or would be more
    /// than half with it. Whether it was queued.
    pub fn push_if_short(&self, frame: &Frame) -> bool {
        let mut inner = self.lock();
        let with_it = inner.bytes.saturating_add(frame.len());
        let is_long = inner.bytes > 0 && with_it > self.limits.bytes / 2;
        if is_long || !inner.is_short(self.limits) || inner.closing.is_some() {
            return false;
        }
        inner.bytes = with_it;
        inner.frames.push(frame.clone());
        self.notify(inner);
        true
    }

    /// Has the connection closed, after what is queued. The first to close says the code.
    pub fn close(&self, code: CloseCode) {
        let mut inner = self.lock();
        inner.closing.get_or_insert(code);
        inner.called = false;
        self.notify(inner);
    }

    /// Has the driver look again at what it held back.
    pub fn nudge(&self) {
        let mut inner = self.lock();
        inner.nudged = true;
        self.notify(inner);
    }

    /// Waits for what doesn't need the frames taken: that the connection is to be closed, or a nudge. For a driver that has
    /// nobody to give frames to.
    pub fn poll_apart(&self, context: &Context<'_>) -> Poll<Taken> {
        let mut inner = self.lock();
        if let Some(code) = inner.closing {
            return Poll::Ready(Taken::Close(code));
        }
        if std::mem::take(&mut inner.nudged) {
            return Poll::Ready(Taken::Nudge);
        }
        inner.wait(context);
        Poll::Pending
    }

    /// Takes what is queued, up to a batch, into `frames`, which is empty. For the driver alone.
    pub fn poll_take(&self, context: &Context<'_>, frames: &mut VecDeque<Frame>) -> Poll<Taken> {
        let mut inner = self.lock();
        let taken = inner.take(frames);
        if let Some(taken) = taken {
            return Poll::Ready(taken);
        }
        inner.wait(context);
        Poll::Pending
    }

    /// The same for a driver with a bell, which is rung again for what comes next, or for what is left.
    pub fn take(&self, frames: &mut VecDeque<Frame>) -> Option<Taken> {
        let mut inner = self.lock();
        let taken = inner.take(frames);
        inner.called = false;
        if !inner.frames.is_empty() || inner.closing.is_some() || inner.nudged {
            self.notify(inner);
        }
        taken
    }

    /// Why the connection is to be closed, if it is. A driver with a bell that can't take anything looks at no more than this,
    /// and until it takes again the bell is rung for nothing else.
    #[must_use]
    pub fn closing(&self) -> Option<CloseCode> {
        self.lock().closing
    }

    #[cfg(test)]
    pub(crate) fn take_all(&self) -> Vec<Frame> {
        let mut inner = self.lock();
        inner.bytes = 0;
        let mut frames = VecDeque::new();
        inner.frames.move_to(&mut frames);
        frames.into()
    }

    /// Wakes the driver after the lock is gone.
    fn notify(&self, mut inner: MutexGuard<'_, Inner>) {
        if std::mem::replace(&mut inner.called, true) {
            return;
        }
        let driver = inner.driver.take();
        drop(inner);
        if let Some((waker, number)) = self.waker.get() {
            waker.wake(*number);
        } else if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Nothing in here can panic half-way through a change, so a poisoned lock is as good as another.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Whether no more is queued than a quarter of what may be.
    fn is_short(&self, limits: OutboxLimits) -> bool {
        self.frames.len() <= limits.frames / 4 && self.bytes <= limits.bytes / 4
    }

    fn wait(&mut self, context: &Context<'_>) {
        self.called = false;
        match &mut self.driver {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
    }

    /// What there is for the driver, if anything.
    fn take(&mut self, frames: &mut VecDeque<Frame>) -> Option<Taken> {
        if self.bytes <= BATCH_BYTES_MAX {
            self.frames.move_to(frames);
            self.bytes = 0;
        } else {
            self.split(frames);
        }
        if self.frames.is_empty()
            && let Some(code) = self.closing
        {
            return Some(Taken::Close(code));
        }
        if !frames.is_empty() {
            return Some(Taken::Frames);
        }
        std::mem::take(&mut self.nudged).then_some(Taken::Nudge)
    }

    /// Moves frames up to a batch's bytes, and at least one.
    fn split(&mut self, batch: &mut VecDeque<Frame>) {
        let mut taken = 0;
        while let Some(frame) = self.frames.pop_if(|next| taken == 0 || taken + next.len() <= BATCH_BYTES_MAX) {
            taken += frame.len();
            batch.push_back(frame);
        }
        self.bytes -= taken;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: usize) -> Frame {
        Frame::text(&"x".repeat(bytes))
    }

    fn take(outbox: &Outbox) -> (Poll<Taken>, usize) {
        let mut frames = VecDeque::new();
        let taken = outbox.poll_take(&Context::from_waker(Waker::noop()), &mut frames);
        (taken, frames.len())
    }

    #[test]
    fn one_frame_too_many_closes_and_frees_the_rest() {
        let outbox = Outbox::new(OutboxLimits { frames: 2, bytes: 100 });
        for _ in 0..2 {
            outbox.push(frame(1));
        }
        assert_eq!(take(&outbox), (Poll::Ready(Taken::Frames), 2));
        for _ in 0..4 {
            outbox.push(frame(1));
        }
        assert_eq!(take(&outbox), (Poll::Ready(Taken::Close(CloseCode::SlowConsumer)), 0));
    }

    #[test]
    fn what_may_be_left_out_is_while_much_is_queued() {
        let outbox = Outbox::new(OutboxLimits { frames: 8, bytes: 1000 });
        assert!((0..3).all(|_| outbox.push_if_short(&frame(1))));
        assert!(!outbox.push_if_short(&frame(1)));
        assert_eq!(take(&outbox), (Poll::Ready(Taken::Frames), 3));
        outbox.push(frame(1));
        assert!(!outbox.push_if_short(&frame(500)) && outbox.push_if_short(&frame(300)));
        assert!(!outbox.push_if_short(&frame(1)));
        assert_eq!(take(&outbox), (Poll::Ready(Taken::Frames), 2));
        assert!(outbox.push_if_short(&frame(900)), "nothing is queued");
    }

    #[test]
    fn bytes_are_limited_but_for_a_single_frame() {
        let outbox = Outbox::new(OutboxLimits { frames: 10, bytes: 100 });
        outbox.push(frame(200));
        assert_eq!(take(&outbox), (Poll::Ready(Taken::Frames), 1));
        outbox.push(frame(60));
        outbox.push(frame(60));
        assert_eq!(take(&outbox), (Poll::Ready(Taken::Close(CloseCode::SlowConsumer)), 0));
    }

    #[test]
    fn what_was_queued_before_a_close_is_still_written() {
        let outbox = Outbox::new(OutboxLimits::default());
        outbox.push(frame(1));
        outbox.close(CloseCode::ServiceRestart);
        outbox.push(frame(1));
        assert_eq!(take(&outbox), (Poll::Ready(Taken::Close(CloseCode::ServiceRestart)), 1));
    }

    #[test]
    fn large_queues_are_taken_in_batches() {
        let outbox = Outbox::new(OutboxLimits::default());
        for _ in 0..3 {
            outbox.push(frame(BATCH_BYTES_MAX / 2 - 16));
        }
        outbox.close(CloseCode::ServiceRestart);
        assert_eq!(take(&outbox), (Poll::Ready(Taken::Frames), 2));
        assert_eq!(take(&outbox), (Poll::Ready(Taken::Close(CloseCode::ServiceRestart)), 1));
    }

    #[test]
    fn a_nudge_is_seen_once() {
        let outbox = Outbox::new(OutboxLimits::default());
        outbox.nudge();
        assert_eq!(take(&outbox), (Poll::Ready(Taken::Nudge), 0));
        assert_eq!(take(&outbox), (Poll::Pending, 0));
    }

    /// Which outboxes rang, and how often one filled.
    #[derive(Default)]
    struct CountedWakes(Mutex<(Vec<usize>, usize)>);

    impl CountedWakes {
        fn take(&self) -> (Vec<usize>, usize) {
            std::mem::take(&mut self.0.lock().expect("no panic"))
        }
    }

    impl OutboxWaker for CountedWakes {
        fn wake(&self, number: usize) {
            self.0.lock().expect("no panic").0.push(number);
        }

        fn request_flush(&self, _: usize) {
            self.0.lock().expect("no panic").1 += 1;
        }
    }

    #[test]
    fn a_bell_is_rung_once_until_all_is_taken_and_again_for_a_close() {
        let outbox = Outbox::new(OutboxLimits { frames: 8, bytes: 1000 });
        let rung = Arc::new(CountedWakes::default());
        outbox.push(frame(1));
        outbox.set_waker(&(Arc::clone(&rung) as _), 7);
        assert_eq!(rung.take(), (vec![7], 0), "for what came before");
        let mut frames = VecDeque::new();
        assert_eq!((outbox.take(&mut frames), frames.len()), (Some(Taken::Frames), 1));
        (0..5).for_each(|_| outbox.push(frame(1)));
        assert_eq!(rung.take(), (vec![7], 1), "it has filled to a quarter");
        outbox.close(CloseCode::GoingAway);
        assert_eq!((rung.take().0, outbox.closing()), (vec![7], Some(CloseCode::GoingAway)));
        frames.clear();
        assert_eq!((outbox.take(&mut frames), frames.len()), (Some(Taken::Close(CloseCode::GoingAway)), 5));
    }
}
