//! The guests' clock: it moves the engine's epoch on, for as long as guests are called.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use tokio::sync::watch;
use wasmtime::EngineWeak;

/// How often a running guest is made to yield, and the unit in which its CPU time is counted.
pub(super) const EPOCH: Duration = Duration::from_millis(1);

/// Epochs without any guest after which the clock stands still, so that a host with nothing to do does nothing.
const QUIET_EPOCHS: u32 = 50;

/// A thread that keeps time. It ends with this.
pub(super) struct EpochTicker {
    signal: Arc<EpochSignal>,
    thread: Option<JoinHandle<()>>,
    /// Closed once the thread has ended, however it did.
    ended: watch::Receiver<()>,
}

/// What keeps the clock going.
#[derive(Default)]
pub(super) struct EpochSignal {
    /// Whether a guest has run since the last epoch began.
    is_wound: AtomicBool,
    /// Whether the thread waits to be woken.
    is_still: AtomicBool,
    is_over: AtomicBool,
    thread: OnceLock<Thread>,
}

impl EpochSignal {
    /// A guest is about to run. To be said before each poll of its call.
    pub(super) fn arm(&self) {
        // Most calls find it wound. Of this and the thread's own look, one sees what the other has written.
        if self.is_wound.load(Ordering::Relaxed) || self.is_wound.swap(true, Ordering::SeqCst) {
            return;
        }
        if self.is_still.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Does work in which a guest may run: whatever it waited for, once it goes on its epochs pass.
    pub(super) async fn keep<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|context| {
            self.arm();
            work.as_mut().poll(context)
        })
        .await
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn run(&self, engine: &EngineWeak) {
        let mut quiet = 0;
        while !self.is_over.load(Ordering::SeqCst) {
            if quiet < QUIET_EPOCHS {
                std::thread::park_timeout(EPOCH);
            } else {
                self.wait_for_calls();
                quiet = 0;
            }
            let Some(engine) = engine.upgrade() else { return };
            engine.increment_epoch();
            quiet = if self.is_wound.swap(false, Ordering::SeqCst) { 0 } else { quiet + 1 };
        }
    }

    fn wait_for_calls(&self) {
        self.is_still.store(true, Ordering::SeqCst);
        while !self.is_wound.load(Ordering::SeqCst) && !self.is_over.load(Ordering::SeqCst) {
            std::thread::park();
        }
        self.is_still.store(false, Ordering::SeqCst);
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
        // Nothing is ever sent: what comes is that the sender is gone.
        async move { while ended.changed().await.is_ok() {} }
    }

    pub(super) fn signal(&self) -> &Arc<EpochSignal> {
        &self.signal
    }
}

impl Drop for EpochTicker {
    fn drop(&mut self) {
        self.signal.is_over.store(true, Ordering::SeqCst);
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

    fn wait_until(is_so: impl Fn() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < Duration::from_secs(30), "it doesn't come");
            std::thread::yield_now();
        }
    }

    #[test]
    fn it_stands_still_without_guests_and_goes_on_with_the_next() {
        let engine = Engine::default();
        let ticker = EpochTicker::start(engine.weak()).expect("a thread");
        let signal = ticker.signal();
        for _ in 0..3 {
            wait_until(|| signal.is_still.load(Ordering::SeqCst));
            signal.arm();
            wait_until(|| !signal.is_still.load(Ordering::SeqCst) && !signal.is_wound.load(Ordering::SeqCst));
        }
        drop(ticker);
    }

    #[tokio::test]
    async fn its_end_is_noticed() {
        let engine = Engine::default();
        let ticker = EpochTicker::start(engine.weak()).expect("a thread");
        let mut ended = std::pin::pin!(ticker.ended());
        assert!(tokio::time::timeout(Duration::from_millis(10), &mut ended).await.is_err());
        ticker.signal.is_over.store(true, Ordering::SeqCst);
        ticker.signal.wake();
        assert!(tokio::time::timeout(Duration::from_secs(30), ended).await.is_ok());
    }
}
