//! Compresses large frames, on a thread that serves no connections.
//!
//! A large frame comes out of an outbox uncompressed. The connection asks for the compressed frame, and waits for it before
//! it writes more. If the same frame is in several outboxes, it is compressed once. If much waits to be compressed, further
//! frames are sent uncompressed, so that no connection waits long.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::protocol::{DeflateCount, Frame};
use crate::pubsub::Outbox;

/// If more bytes than this wait to be compressed, further frames aren't compressed. A thread compresses them in about 50 ms.
const WAITING_BYTES_MAX: usize = 8 << 20;

/// The most bytes of compressed frames that are kept, because other connections may need them too.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// The large frames of a host that are being compressed, and compressed ones that may be needed again.
#[derive(Default)]
pub(super) struct LargeFrames {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// All frames, the oldest first. Those that aren't compressed yet are compressed in this order.
    frames: Vec<(Arc<LargeFrame>, Outboxes)>,
    /// Whether a thread compresses frames.
    is_running: bool,
}

/// The outboxes of the connections that wait for a frame. It is empty once the frame is compressed.
type Outboxes = Vec<Arc<Outbox>>;

/// A large frame, and its compressed form once that is known.
pub(super) struct LargeFrame {
    plain: Frame,
    /// The compressed frame. None if it would be hardly smaller than the plain one.
    deflated: OnceLock<Option<Frame>>,
}

/// The answer to a connection.
pub(super) enum ToSend {
    /// Send this frame.
    Now(Frame),
    /// Wait. The outbox's driver is woken when there is a result.
    Later(Arc<LargeFrame>),
}

impl LargeFrame {
    /// Returns the frame to send, if it is known.
    pub(super) fn result(&self) -> Option<Frame> {
        self.deflated.get().map(|deflated| deflated.as_ref().unwrap_or(&self.plain).clone())
    }

    fn is_waiting(&self) -> bool {
        self.deflated.get().is_none()
    }

    fn bytes(&self) -> usize {
        let deflated = self.deflated.get().and_then(Option::as_ref);
        self.plain.len() + deflated.map_or(0, Frame::len)
    }

    fn compress(&self) {
        // Caught, because connections wait for the result.
        let deflated = catch_unwind(AssertUnwindSafe(|| self.plain.deflated())).unwrap_or_else(|_| {
            tracing::error!("a fault of the host: the compression of a frame panicked");
            None
        });
        self.deflated.get_or_init(|| deflated);
    }

    /// Counts the bytes that are saved if this many connections send the result.
    fn count(&self, connections: usize) {
        if let Some(Some(deflated)) = self.deflated.get() {
            DeflateCount::BytesSaved.add((self.plain.len() - deflated.len()) * connections);
        }
    }
}

impl LargeFrames {
    /// Returns the frame to send in place of a large frame, or tells the connection with this outbox to wait. Must be called
    /// inside a tokio runtime.
    pub(super) fn deflate(self: &Arc<Self>, plain: &Frame, outbox: &Arc<Outbox>) -> ToSend {
        let mut inner = self.lock();
        if let Some((frame, waiting)) = inner.frames.iter_mut().find(|(frame, _)| frame.plain.is_same(plain)) {
            let Some(result) = frame.result() else {
                waiting.push(Arc::clone(outbox));
                return ToSend::Later(Arc::clone(frame));
            };
            frame.count(1);
            return ToSend::Now(result);
        }
        inner.clean();
        // While nothing waits, a frame may have any size.
        if inner.bytes(|waiting| !waiting.is_empty()) > WAITING_BYTES_MAX {
            return ToSend::Now(plain.clone());
        }
        let frame = Arc::new(LargeFrame { plain: plain.clone(), deflated: OnceLock::new() });
        inner.frames.push((Arc::clone(&frame), vec![Arc::clone(outbox)]));
        if !std::mem::replace(&mut inner.is_running, true) {
            let frames = Arc::clone(self);
            tokio::task::spawn_blocking(move || frames.run());
        }
        ToSend::Later(frame)
    }

    /// Compresses one frame after another, until none is left.
    fn run(&self) {
        while let Some(frame) = self.next() {
            frame.compress();
            let waiting = self.lock().finish(&frame);
            // Outside the lock, because the drivers take other locks.
            waiting.iter().for_each(|outbox| outbox.wake());
        }
    }

    fn next(&self) -> Option<Arc<LargeFrame>> {
        let mut inner = self.lock();
        let next = inner.frames.iter().map(|(frame, _)| frame).find(|frame| frame.is_waiting()).cloned();
        inner.is_running = next.is_some();
        next
    }

    /// No change can panic half-way, so a poisoned lock is still valid.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Returns the outboxes whose connections wait for a frame that has a result now.
    fn finish(&mut self, finished: &Arc<LargeFrame>) -> Outboxes {
        let found = self.frames.iter_mut().find(|(frame, _)| Arc::ptr_eq(frame, finished));
        let waiting = found.map(|(_, waiting)| std::mem::take(waiting)).unwrap_or_default();
        finished.count(waiting.len());
        self.clean();
        waiting
    }

    /// Removes the compressed frames that nobody else can ask for, and the oldest ones if there are too many. Connections
    /// that wait for one have a reference to it.
    fn clean(&mut self) {
        self.frames.retain(|(frame, waiting)| !waiting.is_empty() || frame.plain.is_shared());
        while self.bytes(Vec::is_empty) > KEPT_BYTES_MAX
            && let Some(oldest) = self.frames.iter().position(|(_, waiting)| waiting.is_empty())
        {
            self.frames.remove(oldest);
        }
    }

    /// Returns the bytes of the frames whose list of outboxes is like that.
    fn bytes(&self, is_wanted: impl Fn(&Outboxes) -> bool) -> usize {
        self.frames.iter().filter(|(_, waiting)| is_wanted(waiting)).map(|(frame, _)| frame.bytes()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pubsub::{OutboxLimits, OutboxWaker};

    /// Records the wakes of outboxes.
    #[derive(Default)]
    struct Wakes(Mutex<Vec<usize>>);

    impl OutboxWaker for Wakes {
        fn wake(&self, number: usize) {
            self.0.lock().expect("no panic").push(number);
        }

        fn request_flush(&self, _: usize) {}
    }

    /// Frames are compressed only when a test calls `run`.
    struct Stage {
        frames: Arc<LargeFrames>,
        wakes: Arc<Wakes>,
    }

    impl Stage {
        fn new() -> Self {
            let frames = Arc::<LargeFrames>::default();
            frames.lock().is_running = true;
            Self { frames, wakes: Arc::default() }
        }

        /// Asks for a frame, as the connection with this number.
        fn ask(&self, frame: &Frame, number: usize) -> ToSend {
            let outbox = Arc::new(Outbox::new(OutboxLimits::default()));
            outbox.set_waker(&(Arc::clone(&self.wakes) as _), number);
            // A new outbox is woken once, for the frames from before.
            self.wakes.0.lock().expect("no panic").clear();
            self.frames.deflate(frame, &outbox)
        }

        /// Compresses all frames, and returns the numbers of the woken connections.
        fn run(&self) -> Vec<usize> {
            self.frames.run();
            assert!(!std::mem::replace(&mut self.frames.lock().is_running, true), "it has ended");
            std::mem::take(&mut *self.wakes.0.lock().expect("no panic"))
        }

        fn kept(&self) -> usize {
            self.frames.lock().frames.len()
        }
    }

    fn large(seed: usize) -> Frame {
        Frame::text(&format!("{seed},").repeat(100_000))
    }

    fn later(to_send: ToSend) -> Arc<LargeFrame> {
        match to_send {
            ToSend::Later(later) => later,
            ToSend::Now(_) => panic!("it isn't compressed yet"),
        }
    }

    fn now(to_send: ToSend) -> Frame {
        match to_send {
            ToSend::Now(now) => now,
            ToSend::Later(_) => panic!("it has to be compressed"),
        }
    }

    #[test]
    fn a_frame_is_compressed_once_for_all_that_wait_for_it() {
        let (stage, frame) = (Stage::new(), large(1));
        let (first, second) = (later(stage.ask(&frame, 1)), later(stage.ask(&frame, 2)));
        assert!(Arc::ptr_eq(&first, &second) && first.result().is_none());
        assert_eq!(stage.run(), [1, 2]);
        let result = first.result().expect("it is compressed");
        assert_eq!(frame.deflated().as_ref(), Some(&result));
        assert!(now(stage.ask(&frame, 3)).is_same(&result), "a later connection gets the same frame");
        drop(frame);
        later(stage.ask(&large(2), 4));
        assert_eq!(stage.kept(), 1, "nobody else can ask for the first frame");
        assert_eq!(stage.run(), [4]);
        assert_eq!(stage.kept(), 0);
    }

    #[test]
    fn a_frame_that_hardly_becomes_smaller_is_sent_as_it_is() {
        let mut noise = bennu_test_tiers::Noise::new(3);
        let random: Vec<u8> = (0..200_000).map(|_| noise.below(256) as u8).collect();
        let (stage, frame) = (Stage::new(), Frame::binary(&[&random]));
        let waiting = later(stage.ask(&frame, 1));
        assert_eq!(stage.run(), [1]);
        assert!(waiting.result().is_some_and(|result| result.is_same(&frame)));
        assert!(now(stage.ask(&frame, 2)).is_same(&frame), "it isn't compressed again");
    }

    #[test]
    fn frames_are_sent_as_they_are_while_much_waits() {
        let (stage, frame) = (Stage::new(), large(2));
        // It may have any size, because nothing else waits.
        let huge = Frame::text(&"0123456789".repeat(WAITING_BYTES_MAX / 10 + 1));
        later(stage.ask(&huge, 1));
        assert!(now(stage.ask(&frame, 2)).is_same(&frame));
        assert_eq!(stage.run(), [1]);
        later(stage.ask(&frame, 2));
    }

    #[test]
    fn the_kept_frames_have_a_maximum() {
        let stage = Stage::new();
        let frames: Vec<Frame> = (0..8).map(|n| Frame::text(&format!("{n}.").repeat(2 << 20))).collect();
        for frame in &frames {
            later(stage.ask(frame, 1));
            stage.run();
        }
        let (kept, bytes) = (stage.kept(), stage.frames.lock().bytes(|_| true));
        assert_eq!(kept, 3, "{bytes} bytes");
        now(stage.ask(&frames[7], 2));
        later(stage.ask(&frames[0], 3));
    }

    #[tokio::test]
    async fn a_thread_compresses_what_comes_while_it_runs() {
        let frames = Arc::<LargeFrames>::default();
        let outbox = Arc::new(Outbox::new(OutboxLimits::default()));
        for number in 0..20 {
            let asked = later(frames.deflate(&large(number), &outbox));
            while asked.result().is_none() {
                tokio::task::yield_now().await;
            }
        }
    }
}
