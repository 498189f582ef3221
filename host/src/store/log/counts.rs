//! Numbers about the log, for the API.

use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers about the log of a store. The committer and the checkpoint thread change them, and all handles of the store read
/// them. Each is a number of its own, and no other memory is read by its value. So all accesses are relaxed.
#[derive(Debug, Default)]
pub struct LogCounts {
    /// The bytes of the records of the active table.
    active: AtomicU64,
    /// The bytes of the records that a checkpoint is writing to the tree.
    frozen: AtomicU64,
    checkpoints: AtomicU64,
    waits: AtomicU64,
}

impl LogCounts {
    /// Returns the bytes of commits in the log that no checkpoint has written to the tree yet.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.active.load(Ordering::Relaxed) + self.frozen.load(Ordering::Relaxed)
    }

    /// Returns how many checkpoints were made since the start.
    #[must_use]
    pub fn checkpoints(&self) -> u64 {
        self.checkpoints.load(Ordering::Relaxed)
    }

    /// Returns how often a commit had to wait for a checkpoint since the start.
    #[must_use]
    pub fn waits(&self) -> u64 {
        self.waits.load(Ordering::Relaxed)
    }

    /// A record was appended.
    pub(in crate::store) fn add_record(&self, bytes: usize) {
        self.active.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A checkpoint of all records has begun.
    pub(in crate::store) fn freeze(&self) {
        self.frozen.store(self.active.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// The checkpoint has ended.
    pub(super) fn count_checkpoint(&self) {
        self.frozen.store(0, Ordering::Relaxed);
        self.checkpoints.fetch_add(1, Ordering::Relaxed);
    }

    /// The log has no records that the tree doesn't have.
    pub(in crate::store) fn clear(&self) {
        self.active.store(0, Ordering::Relaxed);
        self.frozen.store(0, Ordering::Relaxed);
    }

    pub(in crate::store) fn count_wait(&self) {
        self.waits.fetch_add(1, Ordering::Relaxed);
    }
}
