//! The ticker thread: it increments the engine's epoch for as long as guests are called.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use wasmtime::EngineWeak;

/// The interval at which a running guest has to yield. It is also the unit in which its CPU time is counted.
pub(super) const EPOCH: Duration = Duration::from_millis(1);

/// The number of epochs without a call after which the thread parks, so that an idle host uses no CPU time.
const QUIET_EPOCHS: u32 = 50;

/// Owns the ticker thread. Dropping it ends the thread.
pub(super) struct EpochTicker {
    signal: Arc<EpochSignal>,
    thread: Option<JoinHandle<()>>,
    /// Closed once the thread has ended for any reason.
    ended: watch::Receiver<()>,
}

/// The signal with which calls keep the ticker thread running.
#[derive(Default)]
pub(super) struct EpochSignal {
    /// Whether a guest was called since the last epoch began.
    is_armed: AtomicBool,
    /// Whether the thread is parked until the next call.
    is_parked: AtomicBool,
    has_ended: AtomicBool,
    /// The length of the last epoch in nanoseconds. A busy machine makes epochs longer.
    last_ns: AtomicU64,
    thread: OnceLock<Thread>,
}

impl EpochSignal {
    /// Tells the ticker thread that a guest is about to run. It must be called before each poll of a call. A running
    /// guest yields at each epoch, so it is polled again and calls `arm` again.
    pub(super) fn arm(&self) {
        // The flag is usually set already, so a relaxed load comes first. The load may return an old `true` for a
        // moment. This does no harm: after the thread has cleared the flag, it runs for `QUIET_EPOCHS` more epochs,
        // and the guest's next poll sets the flag again. The SeqCst operations pair with those in `wait_for_calls`:
        // each side writes its own flag and then reads the other's, so at least one side sees the other's write, and
        // no wake-up is lost.
        if self.is_armed.load(Ordering::Relaxed) || self.is_armed.swap(true, Ordering::SeqCst) {
            return;
        }
        if self.is_parked.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Polls `work`, in which a guest may run, and calls `arm` before each poll.
    pub(super) async fn keep<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|context| {
            self.arm();
            work.as_mut().poll(context)
        })
        .await
    }

    /// Returns the length of the last epoch, in nanoseconds: as long as a guest has run that its end interrupts, on average.
    pub(super) fn last_ns(&self) -> u64 {
        self.last_ns.load(Ordering::Relaxed)
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn run(&self, engine: &EngineWeak) {
        let (mut quiet, mut began) = (0, Instant::now());
        while !self.has_ended.load(Ordering::SeqCst) {
            if quiet < QUIET_EPOCHS {
                std::thread::park_timeout(EPOCH);
            } else {
                self.wait_for_calls();
                quiet = 0;
                // No guest has run while the thread was parked.
                began = Instant::now();
            }
            let now = Instant::now();
            let last_ns = u64::try_from(now.duration_since(began).as_nanos()).unwrap_or(u64::MAX);
            self.last_ns.store(last_ns, Ordering::Relaxed);
            began = now;
            let Some(engine) = engine.upgrade() else { return };
            engine.increment_epoch();
            quiet = if self.is_armed.swap(false, Ordering::SeqCst) { 0 } else { quiet + 1 };
        }
    }

    fn wait_for_calls(&self) {
        // Pairs with `arm`: the thread announces that it parks before it looks for a call. An `unpark` before `park`
        // makes `park` return at once.
        self.is_parked.store(true, Ordering::SeqCst);
        while !self.is_armed.load(Ordering::SeqCst) && !self.has_ended.load(Ordering::SeqCst) {
            std::thread::park();
        }
        self.is_parked.store(false, Ordering::SeqCst);
    }
}

impl EpochTicker {
    pub(super) fn start(engine: EngineWeak) -> std::io::Result<Self> {
        let signal = Arc::new(EpochSignal::default());
        let inside = Arc::clone(&signal);
        let (alive, ended) = watch::channel(());
        let thread = std::thread::Builder::new().name("bennu-epochs".into()).spawn(move || {
            let _alive = alive;
            inside.run(&engine);
        })?;
        let _ = signal.thread.set(thread.thread().clone());
        Ok(Self { signal, thread: Some(thread), ended })
    }

    /// Waits until the thread has ended.
    pub(super) fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut ended = self.ended.clone();
        // Nothing is ever sent: `changed` fails once the sender is dropped.
        async move { while ended.changed().await.is_ok() {} }
    }

    pub(super) fn signal(&self) -> &Arc<EpochSignal> {
        &self.signal
    }
}

impl Drop for EpochTicker {
    fn drop(&mut self) {
        self.signal.has_ended.store(true, Ordering::SeqCst);
        self.signal.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use wasmtime::Engine;

    use super::*;

    fn wait_until(condition: impl Fn() -> bool) {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < Duration::from_secs(30), "the condition was not met in time");
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_thread_parks_without_calls_and_continues_with_the_next_call() {
        let engine = Engine::default();
        let ticker = EpochTicker::start(engine.weak()).expect("a thread");
        let signal = ticker.signal();
        for _ in 0..3 {
            wait_until(|| signal.is_parked.load(Ordering::SeqCst));
            signal.arm();
            wait_until(|| !signal.is_parked.load(Ordering::SeqCst) && !signal.is_armed.load(Ordering::SeqCst));
        }
        drop(ticker);
    }

    #[tokio::test]
    async fn the_end_of_the_thread_is_reported() {
        let engine = Engine::default();
        let ticker = EpochTicker::start(engine.weak()).expect("a thread");
        let mut ended = std::pin::pin!(ticker.ended());
        assert!(tokio::time::timeout(Duration::from_millis(10), &mut ended).await.is_err());
        ticker.signal.has_ended.store(true, Ordering::SeqCst);
        ticker.signal.wake();
        assert!(tokio::time::timeout(Duration::from_secs(30), ended).await.is_ok());
    }
}
