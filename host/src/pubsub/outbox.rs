//! A socket's bounded queue of encoded frames.
//!
//! Any part of the host pushes frames. The socket's driver takes all queued frames and writes them in one go. A driver
//! is a task, which waits by polling, or a reactor, which an [`OutboxWaker`] wakes. A slow consumer costs other clients
//! nothing: its outbox overflows, drops its frames, and has the connection closed. Droppable frames
//! ([`Outbox::push_droppable`]) use at most a quarter of an outbox, and are dropped instead.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use super::droppables::{DropKey, DroppableCounts, Droppables, Pushed};
use super::queue::Queue;
use crate::protocol::{CloseCode, Frame};

/// The size limits of an outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxLimits {
    /// The most frames that may be queued. One frame more closes the connection as a slow consumer.
    pub frames: usize,
    /// The most bytes that the queued frames may have. One frame more closes the connection too. An empty outbox takes
    /// a single frame of any size.
    pub bytes: usize,
}

impl Default for OutboxLimits {
    fn default() -> Self {
        Self { frames: 1024, bytes: 4 << 20 }
    }
}

/// Wakes the driver of many outboxes. An outbox calls [`wake`](Self::wake) once, and then not again until the driver
/// has taken from the outbox. A close is the exception: it always calls `wake`.
pub trait OutboxWaker: Send + Sync {
    /// The outbox with this number has work for its driver. This must not block. The outbox may be gone by the time the
    /// driver looks.
    fn wake(&self, number: usize);

    /// The outbox with this number has become more than a quarter full. The driver should write it before the host does
    /// much more work that fills it. This is called under the outbox's lock, so it must not block or use the outbox.
    fn request_flush(&self, number: usize);
}

/// A bounded queue of frames, and the other reasons to wake its driver: a close and a nudge.
pub struct Outbox {
    limits: OutboxLimits,
    /// One lock for the frames, their bytes and the wake flags, which change together. It is held only to move frames.
    inner: Mutex<Inner>,
    /// The waker of the driver, if it has one, and the driver's number for this outbox.
    waker: OnceLock<(Arc<dyn OutboxWaker>, usize)>,
}

#[derive(Default)]
struct Inner {
    /// The frames that aren't droppable.
    frames: Queue<Frame>,
    /// The bytes of all queued frames.
    bytes: usize,
    /// The droppable frames. None if there is none, so that a usual outbox needs no memory for them. If more than a
    /// quarter of the outbox is in use, there is none, except a frame that was pushed into the empty outbox.
    droppables: Option<Box<Droppables>>,
    /// Why the connection is to be closed. Set once; no frame is queued after it.
    closing: Option<CloseCode>,
    /// Whether the driver should retry the input that it has paused.
    nudged: bool,
    /// Whether the driver was woken and has not looked since. It needs no second wakeup then.
    called: bool,
    /// The waker of a driver that polls.
    driver: Option<Waker>,
}

/// The driver's next task.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// Write the frames that were taken.
    Frames,
    /// Write the frames that were taken, then close the connection.
    Close(CloseCode),
    /// Retry the paused input: a channel that had no room for a message has room again.
    Nudge,
}

/// The most bytes that a driver takes at once. The frames that it holds while it writes come on top of the outbox's
/// limit.
const BATCH_BYTES_MAX: usize = 256 << 10;

impl Outbox {
    /// Creates an empty outbox.
    #[must_use]
    pub fn new(limits: OutboxLimits) -> Self {
        Self { limits, inner: Mutex::default(), waker: OnceLock::new() }
    }

    /// Sets the waker of the driver, which knows this outbox by `number`. Later calls are ignored.
    pub fn set_waker(&self, waker: &Arc<dyn OutboxWaker>, number: usize) {
        if self.waker.set((Arc::clone(waker), number)).is_ok() {
            // A frame may have been queued before the waker was set.
            waker.wake(number);
        }
    }

    /// Queues a frame. Drops the frame if the outbox is closing or full. A full outbox also drops its queued frames,
    /// and starts to close as a slow consumer.
    pub fn push(&self, frame: Frame) {
        let mut inner = self.lock();
        if inner.closing.is_some() {
            return;
        }
        if inner.droppables.is_some() {
            inner.make_room(self.limits, frame.len());
        }
        let bytes = inner.bytes + frame.len();
        let is_full = inner.frames.len() >= self.limits.frames || (bytes > self.limits.bytes && inner.bytes > 0);
        if is_full {
            inner.frames = Queue::default();
            inner.bytes = 0;
            inner.closing = Some(CloseCode::SlowConsumer);
            // As in `close`.
            inner.called = false;
        } else {
            let was_short = inner.is_short(self.limits);
            inner.bytes = bytes;
            inner.frames.push(frame);
            if was_short
                && !inner.is_short(self.limits)
                && let Some((waker, number)) = self.waker.get()
            {
                // Under the lock, so that the request has been made before anybody can push the next frame.
                waker.request_flush(*number);
            }
        }
        self.notify(inner);
    }

    /// Queues a frame that may be left out. Refuses it if the outbox is closing, is more than a quarter full, or would
    /// be more than half full with it. An empty outbox takes a frame of any size. Returns whether the frame was queued.
    pub fn push_if_short(&self, frame: &Frame) -> bool {
        let mut inner = self.lock();
        let plain = inner.plain_bytes();
        let is_long = plain > 0 && plain.saturating_add(frame.len()) > self.limits.bytes / 2;
        let is_short = inner.frames.len() <= self.limits.frames / 4 && plain <= self.limits.bytes / 4;
        if is_long || !is_short || inner.closing.is_some() {
            return false;
        }
        inner.make_room(self.limits, frame.len());
        inner.bytes += frame.len();
        inner.frames.push(frame.clone());
        self.notify(inner);
        true
    }

    /// Queues a droppable frame. If a frame with the same key is queued, this frame takes its place. Otherwise the
    /// oldest droppable frames are dropped until the outbox with this frame is at most a quarter full. If that isn't
    /// possible, this frame is dropped. An empty outbox takes a frame of any size.
    pub fn push_droppable(&self, frame: &Frame, key: DropKey, counts: &Arc<DroppableCounts>) -> Pushed {
        let mut inner = self.lock();
        if inner.closing.is_some() {
            return Pushed::Refused;
        }
        if let Some(old) = inner.droppables.as_mut().and_then(|droppables| droppables.replace(key, frame)) {
            // The driver was woken for the old frame.
            inner.bytes = inner.bytes - old + frame.len();
            inner.trim(self.limits);
            return Pushed::Replaced;
        }
        let fits = is_quarter(self.limits, inner.frames.len() + 1, inner.plain_bytes() + frame.len());
        if !inner.frames.is_empty() && !fits {
            counts.count_dropped();
            return Pushed::Dropped;
        }
        inner.make_room(self.limits, frame.len());
        inner.bytes += frame.len();
        let after = inner.frames.len();
        inner.droppables.get_or_insert_with(|| Box::new(Droppables::new(counts))).push(key, frame, after);
        self.notify(inner);
        Pushed::Queued
    }

    /// Closes the connection after the queued frames are written. The first call sets the code.
    pub fn close(&self, code: CloseCode) {
        let mut inner = self.lock();
        inner.closing.get_or_insert(code);
        // A driver that can't write has not looked since its last wakeup. It must be woken again for the close.
        inner.called = false;
        self.notify(inner);
    }

    /// Makes the driver retry its paused input.
    pub fn nudge(&self) {
        let mut inner = self.lock();
        inner.nudged = true;
        self.notify(inner);
    }

    /// Waits for a close or a nudge, and leaves the frames queued. This is for a driver that can't deliver frames at
    /// present. After a close, it still has to take the frames that were queued before.
    pub fn poll_apart(&self, context: &Context<'_>) -> Poll<Taken> {
        let mut inner = self.lock();
        if let Some(code) = inner.closing {
            return Poll::Ready(Taken::Close(code));
        }
        if std::mem::take(&mut inner.nudged) {
            return Poll::Ready(Taken::Nudge);
        }
        inner.register(context);
        Poll::Pending
    }

    /// Moves the queued frames, up to a batch of bytes, into `frames`, which must be empty. Only the driver may call
    /// this.
    pub fn poll_take(&self, context: &Context<'_>, frames: &mut VecDeque<Frame>) -> Poll<Taken> {
        let mut inner = self.lock();
        let taken = inner.take(frames);
        if let Some(taken) = taken {
            return Poll::Ready(taken);
        }
        inner.register(context);
        Poll::Pending
    }

    /// Like [`poll_take`](Self::poll_take), but for a driver with an [`OutboxWaker`], which is woken again for new
    /// frames and for frames that are left.
    pub fn take(&self, frames: &mut VecDeque<Frame>) -> Option<Taken> {
        let mut inner = self.lock();
        let taken = inner.take(frames);
        inner.called = false;
        if !inner.is_empty() || inner.closing.is_some() || inner.nudged {
            self.notify(inner);
        }
        taken
    }

    /// Returns the code with which the connection is to be closed, if it is. A driver with an [`OutboxWaker`] that
    /// can't write checks only this. Until it takes frames again, it is woken for nothing except a close.
    #[must_use]
    pub fn closing(&self) -> Option<CloseCode> {
        self.lock().closing
    }

    #[cfg(test)]
    pub(crate) fn take_all(&self) -> Vec<Frame> {
        let mut frames = VecDeque::new();
        self.lock().take_all(&mut frames);
        frames.into()
    }

    /// Wakes the driver unless it was woken before. Releases the lock first, because the driver may run at once and
    /// needs the lock.
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

    /// No panic can leave the data half changed, so a poisoned lock is used like any other.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Whether the queue is at most a quarter full, in frames and in bytes. The number of droppable frames doesn't matter:
    /// if there are any, the queue is at most a quarter full with them.
    fn is_short(&self, limits: OutboxLimits) -> bool {
        is_quarter(limits, self.frames.len(), self.bytes)
    }

    /// Whether no frame is queued.
    fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.droppables.is_none()
    }

    /// The bytes of the frames that aren't droppable.
    fn plain_bytes(&self) -> usize {
        self.bytes - self.droppables.as_ref().map_or(0, |droppables| droppables.bytes())
    }

    /// Drops the oldest droppable frames until the queue with one more frame, of `more` bytes, is at most a quarter full.
    fn make_room(&mut self, limits: OutboxLimits, more: usize) {
        while let Some(droppables) = &self.droppables
            && !is_quarter(limits, self.frames.len() + droppables.len() + 1, self.bytes + more)
        {
            self.drop_oldest();
        }
    }

    /// Drops the oldest droppable frames until the queue is at most a quarter full, or has only one frame.
    fn trim(&mut self, limits: OutboxLimits) {
        while let Some(droppables) = &self.droppables
            && let queued = self.frames.len() + droppables.len()
            && queued > 1
            && !is_quarter(limits, queued, self.bytes)
        {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(droppables) = &mut self.droppables {
            self.bytes -= droppables.drop_oldest();
            self.droppables.take_if(|droppables| droppables.is_empty());
        }
    }

    /// Stores the waker of a driver that polls.
    fn register(&mut self, context: &Context<'_>) {
        self.called = false;
        match &mut self.driver {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
    }

    /// Moves a batch into `frames`. Returns the driver's next task, if it has one.
    fn take(&mut self, frames: &mut VecDeque<Frame>) -> Option<Taken> {
        if self.bytes <= BATCH_BYTES_MAX {
            self.take_all(frames);
        } else {
            self.split(frames);
        }
        if self.is_empty()
            && let Some(code) = self.closing
        {
            return Some(Taken::Close(code));
        }
        if !frames.is_empty() {
            return Some(Taken::Frames);
        }
        std::mem::take(&mut self.nudged).then_some(Taken::Nudge)
    }

    /// Moves all frames.
    fn take_all(&mut self, frames: &mut VecDeque<Frame>) {
        while self.droppables.is_some()
            && let Some(frame) = self.pop_if(|_| true)
        {
            frames.push_back(frame);
        }
        self.frames.move_to(frames);
        self.bytes = 0;
    }

    /// Moves one frame, and more as long as all of them together are no longer than a batch.
    fn split(&mut self, batch: &mut VecDeque<Frame>) {
        let mut taken = 0;
        while let Some(frame) = self.pop_if(|next| taken == 0 || taken + next.len() <= BATCH_BYTES_MAX) {
            taken += frame.len();
            batch.push_back(frame);
        }
        self.bytes -= taken;
    }

    /// Takes the first frame, if `wanted` returns true for it. The caller corrects `bytes`.
    fn pop_if(&mut self, wanted: impl FnOnce(&Frame) -> bool) -> Option<Frame> {
        let Some(droppables) = &mut self.droppables else { return self.frames.pop_if(wanted) };
        if !droppables.is_next() {
            return self.frames.pop_if(wanted).inspect(|_| droppables.pass());
        }
        let frame = droppables.pop_if(wanted);
        self.droppables.take_if(|droppables| droppables.is_empty());
        frame
    }
}

/// Whether these frames use at most a quarter of an outbox.
fn is_quarter(limits: OutboxLimits, frames: usize, bytes: usize) -> bool {
    frames <= limits.frames / 4 && bytes <= limits.bytes / 4
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
    fn one_frame_too_many_closes_the_connection_and_drops_the_queued_frames() {
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
    fn a_frame_that_may_be_left_out_is_refused_while_much_is_queued() {
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
    fn bytes_are_limited_except_for_a_single_frame() {
        let outbox = Outbox::new(OutboxLimits { frames: 10, bytes: 100 });
        outbox.push(frame(200));
        assert_eq!(take(&outbox), (Poll::Ready(Taken::Frames), 1));
        outbox.push(frame(60));
        outbox.push(frame(60));
        assert_eq!(take(&outbox), (Poll::Ready(Taken::Close(CloseCode::SlowConsumer)), 0));
    }

    #[test]
    fn frames_queued_before_a_close_are_still_written() {
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

    /// Records which outboxes woke the driver, and how often one requested a flush.
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
    fn the_driver_is_woken_once_until_it_takes_and_again_for_a_close() {
        let outbox = Outbox::new(OutboxLimits { frames: 8, bytes: 1000 });
        let wakes = Arc::new(CountedWakes::default());
        outbox.push(frame(1));
        outbox.set_waker(&(Arc::clone(&wakes) as _), 7);
        assert_eq!(wakes.take(), (vec![7], 0), "a frame was queued before the waker was set");
        let mut frames = VecDeque::new();
        assert_eq!((outbox.take(&mut frames), frames.len()), (Some(Taken::Frames), 1));
        (0..5).for_each(|_| outbox.push(frame(1)));
        assert_eq!(wakes.take(), (vec![7], 1), "it is more than a quarter full");
        outbox.close(CloseCode::GoingAway);
        assert_eq!((wakes.take().0, outbox.closing()), (vec![7], Some(CloseCode::GoingAway)));
        frames.clear();
        assert_eq!((outbox.take(&mut frames), frames.len()), (Some(Taken::Close(CloseCode::GoingAway)), 5));
    }
}
