//! The timer of a topic's ticks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::AbortHandle;

/// A timer that runs until it is dropped.
pub(in crate::channel::room) struct TickTimer {
    period: Duration,
    is_waiting: IsWaiting,
    task: AbortHandle,
}

/// Whether a tick waits for its turn. No other tick is queued behind it.
#[derive(Clone, Default)]
pub(in crate::channel::room) struct IsWaiting(Arc<AtomicBool>);

impl TickTimer {
    /// Starts a timer. `task` posts the ticks.
    pub(in crate::channel::room) fn start<F>(period: Duration, task: impl FnOnce(IsWaiting) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let is_waiting = IsWaiting::default();
        let task = tokio::spawn(task(is_waiting.clone())).abort_handle();
        Self { period, is_waiting, task }
    }

    pub(in crate::channel::room) fn period(&self) -> Duration {
        self.period
    }

    /// The turn of the waiting tick begins.
    pub(in crate::channel::room) fn taken(&self) {
        // Release, so that the timer's task, which acquires the flag, posts the next tick after this turn has begun.
        self.is_waiting.0.store(false, Ordering::Release);
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
