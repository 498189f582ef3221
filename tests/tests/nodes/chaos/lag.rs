//! How late this machine is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often the thread looks.
const LOOK: Duration = Duration::from_millis(10);

/// A thread that sums up how late it is woken. Promises in time are checked with this sum on top: a machine that doesn't run this thread
/// doesn't run the hosts either, and that is no broken promise. On an idle machine, the sum is small.
#[derive(Clone)]
pub(crate) struct Lag(Arc<AtomicU64>);

impl Lag {
    /// Starts the thread. It ends after the last copy of this value.
    pub(crate) fn watch() -> Self {
        let late = Arc::new(AtomicU64::new(0));
        let weak = Arc::downgrade(&late);
        thread::spawn(move || {
            loop {
                let began = Instant::now();
                thread::sleep(LOOK);
                let Some(late) = weak.upgrade() else { break };
                let over = began.elapsed().saturating_sub(LOOK);
                late.fetch_add(u64::try_from(over.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        });
        Self(late)
    }

    /// The sum so far.
    pub(crate) fn sum(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}
