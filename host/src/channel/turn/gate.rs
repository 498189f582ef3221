//! The gate of all turns of a host. It counts the queues that are being drained, so that a host that stops knows when all
//! turns have ended, and it can be closed, so that no further turn begins.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering, fence};
use std::time::Duration;

use tokio::sync::Notify;

/// The number of counters. Threads share them evenly, so that two threads rarely write to the same one.
const COUNTERS: usize = 16;

/// How often [`TurnGate::idle`] looks.
const LOOK: Duration = Duration::from_millis(1);

const OPEN: u8 = 0;
const CLOSED: u8 = 1;
const ENDED: u8 = 2;

/// The gate of a host's turns.
///
/// A drain has a permit while it runs turns, and looks at the phase before each turn. The number of permits is the number
/// of clones of the counters. Each thread clones its own counter, because one counter for all threads would be contended.
pub(in crate::channel) struct TurnGate {
    counters: [Arc<Counter>; COUNTERS],
    phase: AtomicU8,
    /// Whether no ticks are posted, so that the queues become empty.
    holds_ticks: AtomicBool,
    changed: Notify,
}

/// Counts by its clones. Aligned, so that two counters never share a cache line.
#[repr(align(128))]
struct Counter;

/// The permit of a drain.
pub(in crate::channel) struct TurnPermit(#[expect(dead_code, reason = "it counts until it is dropped")] Arc<Counter>);

thread_local! {
    /// The place of this thread's counter.
    static PLACE: Cell<usize> = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        // Relaxed, because the number only distributes the threads.
        Cell::new(NEXT.fetch_add(1, Ordering::Relaxed) % COUNTERS)
    };
}

impl Default for TurnGate {
    fn default() -> Self {
        Self {
            counters: [(); COUNTERS].map(|()| Arc::new(Counter)),
            phase: AtomicU8::new(OPEN),
            holds_ticks: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }
}

impl TurnGate {
    /// Counts a drain. It must look at [`is_open`](Self::is_open) before each turn.
    pub(in crate::channel) fn enter(&self) -> TurnPermit {
        let permit = TurnPermit(Arc::clone(&self.counters[PLACE.get()]));
        // With the fence in `is_idle`: either that look counts this permit, or this drain sees that the gate is closed.
        fence(Ordering::SeqCst);
        permit
    }

    /// Whether a turn may begin.
    pub(in crate::channel) fn is_open(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == OPEN
    }

    /// Whether ticks are left out.
    pub(in crate::channel) fn holds_ticks(&self) -> bool {
        // Relaxed: a tick more or less is no difference.
        self.holds_ticks.load(Ordering::Relaxed)
    }

    /// Sets whether ticks are left out.
    pub(in crate::channel) fn hold_ticks(&self, holds: bool) {
        self.holds_ticks.store(holds, Ordering::Relaxed);
    }

    /// Waits until turns may begin. Returns false if none may begin any more. The caller must have given up its permit.
    pub(in crate::channel) async fn opened(&self) -> bool {
        loop {
            // Before the phase is read: `notify_waiters` wakes only those that exist already.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            match self.phase.load(Ordering::SeqCst) {
                OPEN => return true,
                CLOSED => changed.await,
                _ => return false,
            }
        }
    }

    /// From now on, no turn begins until the gate is opened again.
    pub(in crate::channel) fn close(&self) {
        self.set(CLOSED);
    }

    /// Turns may begin again.
    pub(in crate::channel) fn open(&self) {
        self.set(OPEN);
    }

    /// No turn begins any more. Queued jobs are dropped.
    pub(in crate::channel) fn end(&self) {
        self.set(ENDED);
    }

    /// Whether [`end`](Self::end) was called.
    pub(in crate::channel) fn has_ended(&self) -> bool {
        self.phase.load(Ordering::SeqCst) == ENDED
    }

    fn set(&self, phase: u8) {
        self.phase.store(phase, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// Whether no queue is being drained. While the gate is closed, this means that no turn runs.
    pub(in crate::channel) fn is_idle(&self) -> bool {
        fence(Ordering::SeqCst);
        // A permit stays with its counter, so none of the sums can be too small because a turn has changed its thread.
        let is_idle = self.counters.iter().all(|counter| Arc::strong_count(counter) == 1);
        // What ended turns have written is seen by this thread.
        fence(Ordering::SeqCst);
        is_idle
    }

    /// Waits until no queue is being drained.
    pub(in crate::channel) async fn idle(&self) {
        while !self.is_idle() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_closed_gate_lets_no_turn_begin_until_it_is_opened_and_none_at_all_after_its_end() {
        let gate = TurnGate::default();
        assert!(gate.is_open() && gate.opened().now_or_never() == Some(true));
        gate.close();
        let mut waits = Box::pin(gate.opened());
        assert!(!gate.is_open() && waits.as_mut().now_or_never().is_none());
        gate.open();
        assert!(waits.await);
        gate.close();
        let waits = gate.opened();
        gate.end();
        assert_eq!((waits.await, gate.is_open(), gate.has_ended()), (false, false, true));
    }

    #[test]
    fn it_is_idle_when_all_permits_of_all_threads_are_dropped() {
        let gate = TurnGate::default();
        let here = gate.enter();
        let there = std::thread::scope(|scope| scope.spawn(|| gate.enter()).join());
        assert!(!gate.is_idle());
        drop(here);
        assert!(!gate.is_idle(), "the thread's permit outlives the thread");
        drop(there);
        assert!(gate.is_idle());
    }
}
