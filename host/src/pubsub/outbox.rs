//! A socket's bounded queue of encoded frames.
//!
//! Any part of the host pushes frames. The socket's driver takes all queued frames and writes them in one go. A driver
//! is a task, which waits by polling, or a reactor, which an [`OutboxWaker`] wakes. A slow consumer costs other clients
//! nothing: its outbox overflows, drops its frames, and has the connection closed. Droppable frames
//! ([`Outbox::push_droppable`]) use at most a quarter of an outbox, and are dropped instead.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use super::droppables::{DropKey, DroppableCounts, Pushed};
use super::queued_frames::QueuedFrames;
use crate::counts::{Limit, Rare, Traffic};
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
    frames: QueuedFrames,
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
        if inner.closing.is_none() {
            self.push_locked(&mut inner, frame);
            self.notify(inner);
        }
    }

    /// Queues two frames with nothing between them, by the rules of [`push`](Self::push).
    pub fn push_both(&self, first: Frame, second: Frame) {
        let mut inner = self.lock();
        if inner.closing.is_none() {
            self.push_locked(&mut inner, first);
            if inner.closing.is_none() {
                self.push_locked(&mut inner, second);
            }
            self.notify(inner);
        }
    }

    /// Queues frames that a client has missed, or none of them if the outbox is closing or would be more than half full.
    /// Returns whether they were queued.
    pub fn push_missed(&self, frames: Vec<Frame>) -> bool {
        let mut inner = self.lock();
        let bytes = frames.iter().map(Frame::len).sum();
        if inner.closing.is_some() || !inner.frames.has_room_for_missed(self.limits, frames.len(), bytes) {
            return false;
        }
        if !frames.is_empty() {
            frames.into_iter().for_each(|frame| self.push_locked(&mut inner, frame));
            self.notify(inner);
        }
        true
    }

    /// Whether [`push_missed`](Self::push_missed) would queue so many frames with so many bytes now.
    pub fn has_room_for_missed(&self, frames: usize, bytes: usize) -> bool {
        let inner = self.lock();
        inner.closing.is_none() && inner.frames.has_room_for_missed(self.limits, frames, bytes)
    }

    /// Queues a frame, while the outbox isn't closing.
    #[inline]
    fn push_locked(&self, inner: &mut Inner, frame: Frame) {
        inner.frames.make_room(self.limits, frame.len());
        if inner.frames.is_full(self.limits, frame.len()) {
            inner.frames.full_limit(self.limits).hit();
            inner.frames = QueuedFrames::default();
            inner.closing = Some(CloseCode::SlowConsumer);
            // As in `close`.
            inner.called = false;
        } else {
            let bytes = frame.len();
            inner.frames.push(frame);
            if !inner.frames.is_short(self.limits) {
                self.on_long(inner, bytes);
            }
        }
    }

    /// The outbox is more than a quarter full, with a last frame of so many bytes.
    #[inline(never)]
    fn on_long(&self, inner: &Inner, last: usize) {
        inner.frames.note_high_water();
        if inner.frames.was_short(self.limits, last)
            && let Some((waker, number)) = self.waker.get()
        {
            // Under the lock, so that the request has been made before anybody can push the next frame.
            waker.request_flush(*number);
        }
    }

    /// Queues a frame that may be left out. Refuses it if the outbox is closing, is more than a quarter full, or would
    /// be more than half full with it. An empty outbox takes a frame of any size. Returns whether the frame was queued.
    pub fn push_if_short(&self, frame: &Frame) -> bool {
        self.push_all_if_short(std::slice::from_ref(frame))
    }

    /// Queues several frames, or none of them, by the rule of [`push_if_short`](Self::push_if_short) for their bytes together.
    pub fn push_all_if_short(&self, frames: &[Frame]) -> bool {
        let mut inner = self.lock();
        if inner.closing.is_some() {
            return false;
        }
        if !inner.frames.push_all_if_short(self.limits, frames) {
            Rare::StateUpdatesSkipped.add(1);
            Limit::OutboxForStates.hit();
            return false;
        }
        self.notify(inner);
        true
    }

    /// Whether [`push_if_short`](Self::push_if_short) may take a frame now.
    pub fn has_room_for_state(&self) -> bool {
        let inner = self.lock();
        inner.closing.is_none() && inner.frames.has_room_for_state(self.limits)
    }

    /// Queues a droppable frame. If a frame with the same key is queued, this frame takes its place. Otherwise the
    /// oldest droppable frames are dropped until the outbox with this frame is at most a quarter full. If that isn't
    /// possible, this frame is dropped. An empty outbox takes a frame of any size.
    pub fn push_droppable(&self, frame: &Frame, key: DropKey, counts: &Arc<DroppableCounts>) -> Pushed {
        let mut inner = self.lock();
        if inner.closing.is_some() {
            return Pushed::Refused;
        }
        let pushed = inner.frames.push_droppable(self.limits, frame, key, counts);
        if pushed == Pushed::Queued {
            self.notify(inner);
        }
        pushed
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

    /// Wakes a driver that has an [`OutboxWaker`], even if it was woken before and hasn't looked since.
    pub fn wake(&self) {
        if let Some((waker, number)) = self.waker.get() {
            waker.wake(*number);
        }
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
        if !inner.frames.is_empty() || inner.closing.is_some() || inner.nudged {
            self.notify(inner);
        }
        taken
    }

    /// Drops the queued frames, which don't count as sent. Returns whether there were any.
    pub fn discard(&self) -> bool {
        let mut inner = self.lock();
        inner.called = false;
        !std::mem::take(&mut inner.frames).is_empty()
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
        self.lock().frames.take_all(&mut frames);
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
        // Most outboxes have one frame at a time. What follows would cost each delivery about 25 instructions more.
        if self.closing.is_none()
            && let Some(frame) = self.frames.take_only()
        {
            frames.push_back(frame);
            Traffic::FramesSent.add(1);
            return Some(Taken::Frames);
        }
        self.take_batch(frames)
    }

    #[inline(never)]
    fn take_batch(&mut self, frames: &mut VecDeque<Frame>) -> Option<Taken> {
        if !self.frames.is_empty() {
            self.frames.note_high_water();
            self.frames.take(frames);
            Traffic::FramesSent.add(frames.len() as u64);
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
}

#[cfg(test)]
mod tests {
    use super::super::queued_frames::BATCH_BYTES_MAX;
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
