//! What the bus counts.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The counts of a bus since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PostgresBusCounts {
    /// Flushes that the database has taken. Each one was a transaction with an id.
    pub flushes: u64,
    /// The messages of `NOTIFY` of these flushes.
    pub pieces: u64,
    /// Flushes that were heard, this node's own among them.
    pub heard: u64,
    /// Notifications on the channel that belonged to nothing. Another program uses the channel if they become more.
    pub ignored: u64,
    /// Sessions that were lost and made again, for sending and for listening.
    pub reconnects: u64,
    /// How full the server's queue of notifications is, in thousandths. Somebody who listens and doesn't read fills it.
    pub queue_thousandths: u32,
}

/// The counts while they change.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) flushes: AtomicU64,
    pub(super) pieces: AtomicU64,
    pub(super) heard: AtomicU64,
    pub(super) ignored: AtomicU64,
    pub(super) reconnects: AtomicU64,
    pub(super) queue_thousandths: AtomicU32,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, more: usize) {
        counter.fetch_add(more as u64, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> PostgresBusCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PostgresBusCounts {
            flushes: read(&self.flushes),
            pieces: read(&self.pieces),
            heard: read(&self.heard),
            ignored: read(&self.ignored),
            reconnects: read(&self.reconnects),
            queue_thousandths: self.queue_thousandths.load(Ordering::Relaxed),
        }
    }
}
