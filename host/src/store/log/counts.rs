//! Numbers about the log, for the API.

use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers about the log of a store. The committer changes them, and all handles of the store read them.
#[derive(Debug, Default)]
pub struct LogCounts {
    /// Each is a number of its own, and no other memory is read by its value. So all accesses are relaxed.
    bytes: AtomicU64,
    checkpoints: AtomicU64,
    waits: AtomicU64,
}

impl LogCounts {
    /// Returns the bytes of commits in the log that no checkpoint has written to the tree yet.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
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

    pub(in crate::store) fn set_bytes(&self, bytes: usize) {
        self.bytes.store(bytes as u64, Ordering::Relaxed);
    }

    pub(in crate::store) fn count_checkpoint(&self) {
        self.checkpoints.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::store) fn count_wait(&self) {
        self.waits.fetch_add(1, Ordering::Relaxed);
    }
}
