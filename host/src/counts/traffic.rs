//! Counts of what happens with each message.
//!
//! Each thread adds to numbers of its own, without an atomic addition, and a reader adds up the numbers of all threads. The
//! numbers of a thread that has ended belong to the next thread that starts. So there are as many as there were threads at
//! the same time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Messages from clients.
    MessagesReceived,
    /// Bytes that were read from WebSocket connections.
    BytesReceived,
    /// Broadcasts to topics, each counted once.
    Broadcasts,
    /// Copies of broadcasts that were put into outboxes.
    Deliveries,
    /// Frames that connections have taken from their outboxes to write them.
    FramesSent,
    /// Bytes that were written to WebSocket connections.
    BytesSent,
}

const NUMBERS: usize = 6;

/// The numbers of one thread, on cache lines of their own.
#[repr(align(128))]
#[derive(Default)]
struct Numbers([AtomicU64; NUMBERS]);

/// The numbers of all threads.
struct AllNumbers {
    all: Vec<&'static Numbers>,
    /// Those of threads that have ended.
    free: Vec<&'static Numbers>,
}

/// Held only when a thread counts for the first time, when it ends, and while the numbers are read.
static ALL: Mutex<AllNumbers> = Mutex::new(AllNumbers { all: Vec::new(), free: Vec::new() });

/// The numbers of this thread. They are returned when the thread ends.
struct Lease(&'static Numbers);

thread_local! {
    static HERE: Lease = Lease::new();
}

impl Traffic {
    /// Adds to a count.
    #[inline]
    pub fn add(self, more: u64) {
        // While a thread ends, its numbers may be gone already. What it counts then is lost, which is a few frames at most.
        let _ = HERE.try_with(|here| {
            let number = &here.0.0[self as usize];
            // No other thread writes this number, so no atomic addition is needed. Relaxed, because no other memory is read
            // by its value.
            number.store(number.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
        });
    }

    /// Returns the sum of all threads since the start.
    #[must_use]
    pub fn count(self) -> u64 {
        all().all.iter().map(|numbers| numbers.0[self as usize].load(Ordering::Relaxed)).sum()
    }
}

impl Lease {
    fn new() -> Self {
        let mut all = all();
        let numbers = all.free.pop().unwrap_or_else(|| {
            let numbers: &'static Numbers = Box::leak(Box::default());
            all.all.push(numbers);
            numbers
        });
        Self(numbers)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // The lock orders the writes of this thread before those of the next one that gets the numbers.
        all().free.push(self.0);
    }
}

/// No panic can leave the data half changed, so a poisoned lock is used like any other.
fn all() -> MutexGuard<'static, AllNumbers> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn the_counts_of_threads_are_added_up_also_after_their_end() {
        let before = Traffic::BytesReceived.count();
        for _ in 0..10 {
            let count = || (0..100).for_each(|_| Traffic::BytesReceived.add(3));
            let threads: Vec<_> = (0..4).map(|_| thread::spawn(count)).collect();
            threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        }
        // Other tests may count at the same time.
        assert!(Traffic::BytesReceived.count() >= before + 10 * 4 * 300);
    }
}
