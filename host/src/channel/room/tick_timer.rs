//! The timer of a topic's ticks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::AbortHandle;

/// A timer that runs until it is dropped.
pub(in crate::channel::room) struct TickTimer {
    period: Duration,
    progress: Progress,
    task: AbortHandle,
}

/// How far the ticks are: the number of the last one.
#[derive(Clone, Default)]
pub(in crate::channel::room) struct Progress {
    pub(in crate::channel::room) is_waiting: IsWaiting,
    /// Relaxed: it is a number of its own.
    number: Arc<AtomicU64>,
}

/// Whether a tick waits for its turn. No other tick is queued behind it.
#[derive(Clone, Default)]
pub(in crate::channel::room) struct IsWaiting(Arc<AtomicBool>);

impl TickTimer {
    /// Starts a timer. `task` posts the ticks.
    pub(in crate::channel::room) fn start<F>(period: Duration, task: impl FnOnce(Progress) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let progress = Progress::default();
        let task = tokio::spawn(task(progress.clone())).abort_handle();
        Self { period, progress, task }
    }

    /// The number of the last tick.
    pub(in crate::channel::room) fn number(&self) -> u64 {
        self.progress.number.load(Ordering::Relaxed)
    }

    pub(in crate::channel::room) fn period(&self) -> Duration {
        self.period
    }

    /// The turn of the waiting tick begins.
    pub(in crate::channel::room) fn taken(&self) {
        // Release, so that the timer's task, which acquires the flag, posts the next tick after this turn has begun.
        self.progress.is_waiting.0.store(false, Ordering::Release);
    }
}

impl Progress {
    pub(in crate::channel::room) fn set_number(&self, number: u64) {
        self.number.store(number, Ordering::Relaxed);
    }
}

impl IsWaiting {
    /// Marks a tick as waiting. Returns whether one already waited.
    pub(in crate::channel::room) fn swap_in(&self) -> bool {
        self.0.swap(true, Ordering::AcqRel)
    }
}

impl Drop for TickTimer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
