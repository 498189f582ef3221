//! What a bus counts.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The counts of a bus since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BusCounts {
    /// Flushes that the service has taken.
    pub flushes: u64,
    /// The pieces of these flushes: each is a message of the service.
    pub pieces: u64,
    /// Flushes that were heard, this node's own among them.
    pub heard: u64,
    /// Flushes that were heard and dropped, because the host didn't take the earlier ones. On PostgreSQL, the session isn't read then.
    pub overflows: u64,
    /// Messages on the bus that belonged to nothing. Another program uses it if they become more.
    pub ignored: u64,
    /// Connections that were lost and made again.
    pub reconnects: u64,
    /// How full PostgreSQL's queue of notifications is, in thousandths. Somebody who listens and doesn't read fills it.
    pub queue_thousandths: u32,
}

/// The counts while they change. They are independent of each other, so all accesses are relaxed.
#[derive(Default)]
pub(crate) struct BusCounters {
    pub(crate) flushes: AtomicU64,
    pub(crate) pieces: AtomicU64,
    pub(crate) heard: AtomicU64,
    pub(crate) overflows: AtomicU64,
    pub(crate) ignored: AtomicU64,
    pub(crate) reconnects: AtomicU64,
    pub(crate) queue_thousandths: AtomicU32,
}

impl BusCounters {
    pub(crate) fn add(counter: &AtomicU64, more: usize) {
        counter.fetch_add(more as u64, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> BusCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BusCounts {
            flushes: read(&self.flushes),
            pieces: read(&self.pieces),
            heard: read(&self.heard),
            overflows: read(&self.overflows),
            ignored: read(&self.ignored),
            reconnects: read(&self.reconnects),
            queue_thousandths: self.queue_thousandths.load(Ordering::Relaxed),
        }
    }
}
