//! The state that a reactor shares with the threads that send it work: the work, whether the reactor sleeps, and whether it is
//! behind with its writes.
//!
//! It is apart from the handle because `host/loom` compiles this file, too, with the primitives of loom, which tries all orders in
//! which the threads can run.

use std::sync::PoisonError;
#[cfg(not(loom))]
use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};

#[cfg(loom)]
use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};

/// Work that is handed over.
pub(super) trait Work: Default {
    /// Whether a reactor with only this work may sleep.
    fn is_empty(&self) -> bool;
}

/// What the sender of work has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// Wake the reactor, which sleeps.
    ToSleeping,
    /// Nothing: the reactor looks before it sleeps.
    ToAwake,
    /// Nothing: the reactor has ended, and the work was not added.
    Nowhere,
}

/// See the module's documentation.
pub(super) struct SharedInbox<W> {
    /// Behind a lock, because any thread may add to it. The lock is held briefly: the reactor exchanges the work for an empty
    /// one.
    shared: Mutex<Shared<W>>,
    /// Whether an outbox of the reactor has filled to a quarter, and the reactor hasn't begun to write to all connections
    /// since. The pressure is raised when this becomes true. It is lowered after this has become false and all is written.
    /// Threads that fill outboxes wait meanwhile.
    is_behind: AtomicBool,
}

#[derive(Default)]
struct Shared<W> {
    work: W,
    /// Whether the reactor waits for events, so that it has to be woken to see its work.
    is_asleep: bool,
    /// Whether the reactor has ended, so that the work is never taken again.
    is_gone: bool,
}

impl<W: Work> SharedInbox<W> {
    pub(super) fn new() -> Self {
        Self { shared: Mutex::new(Shared::default()), is_behind: AtomicBool::new(false) }
    }

    /// Adds work, unless the reactor has ended.
    pub(super) fn send(&self, add: impl FnOnce(&mut W)) -> Sent {
        let mut shared = self.lock();
        if shared.is_gone {
            return Sent::Nowhere;
        }
        add(&mut shared.work);
        if std::mem::take(&mut shared.is_asleep) { Sent::ToSleeping } else { Sent::ToAwake }
    }

    /// Adds work, and asks the reactor to write to all connections. `raise` raises the pressure, if this is the first request
    /// since the reactor has begun to do that.
    pub(super) fn request_flush(&self, add: impl FnOnce(&mut W), raise: impl FnOnce()) -> Sent {
        self.send(|work| {
            add(work);
            // Under the lock, as in `retire`.
            if !self.is_behind.swap(true, Ordering::AcqRel) {
                raise();
            }
        })
    }

    /// Returns whether the reactor has to lower the pressure after it has written to all connections. It calls this before it
    /// begins.
    pub(super) fn catch_up(&self) -> bool {
        // AcqRel pairs with the swap in `request_flush`. The swaps make the two threads agree on who changed the flag, so
        // each raised pressure is lowered exactly once.
        self.is_behind.swap(false, Ordering::AcqRel)
    }

    /// Whether the reactor may sleep, because there is no work. The reactor calls this before it sleeps, and then later work
    /// wakes it: the check and `is_asleep` are under the same lock as `send`, so no wake is lost between the two.
    pub(super) fn may_sleep(&self) -> bool {
        let mut shared = self.lock();
        // The flag can be set while there is no work: `request_flush` came after `catch_up`, and the `collect` of the same turn
        // took its wake. Then the reactor must not sleep, because only the next `catch_up` lowers the pressure.
        shared.is_asleep = shared.work.is_empty() && !self.is_behind.load(Ordering::Acquire);
        shared.is_asleep
    }

    /// Lets the reactor take the work.
    pub(super) fn collect(&self, take: impl FnOnce(&mut W)) {
        let mut shared = self.lock();
        shared.is_asleep = false;
        take(&mut shared.work);
    }

    /// Records that the reactor has ended, and returns the work that is left. No work is added from now on, and the pressure
    /// isn't raised. `lower` lowers it, if the reactor was behind.
    pub(super) fn retire(&self, lower: impl FnOnce()) -> W {
        let mut shared = self.lock();
        shared.is_gone = true;
        // An earlier `request_flush` set the flag and raised the pressure under the lock, so the pressure is never lowered before
        // it was raised.
        if self.is_behind.swap(false, Ordering::AcqRel) {
            lower();
        }
        std::mem::take(&mut shared.work)
    }

    /// No change can panic half-way, so a poisoned lock is still valid.
    fn lock(&self) -> MutexGuard<'_, Shared<W>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
