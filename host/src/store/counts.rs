//! Counts of commits, for the metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::batch::CommitError;
use super::engine::Writes;
use super::postgres::PostgresCounts;
use super::revision::Revision;
use crate::counts::{HighWater, Histogram, HistogramCounts};

/// The bounds of the histogram of batches.
pub const BATCH_BOUNDS: [Duration; 7] = [
    Duration::from_millis(1),
    Duration::from_millis(3),
    Duration::from_millis(10),
    Duration::from_millis(30),
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(10),
];

/// Counts of commits since the start. Only the thread that writes changes them, and each is a number of its own. So all
/// accesses are relaxed.
#[derive(Debug, Default)]
pub struct StoreCounts {
    commits: AtomicU64,
    conflicts: AtomicU64,
    over_quota: AtomicU64,
    failures: AtomicU64,
    bytes: AtomicU64,
    batches: Histogram<{ BATCH_BOUNDS.len() }>,
    /// The numbers about the connections to the database, if the engine is on one.
    pub(super) postgres: Option<Arc<PostgresCounts>>,
}

impl StoreCounts {
    pub(super) fn new(postgres: Option<Arc<PostgresCounts>>) -> Self {
        Self { postgres, ..Self::default() }
    }

    /// Returns how many calls were committed.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Returns how many commits were refused because another one had changed what they had read.
    #[must_use]
    pub fn conflicts(&self) -> u64 {
        self.conflicts.load(Ordering::Relaxed)
    }

    /// Returns how many commits were refused because of their plugin's quota.
    #[must_use]
    pub fn over_quota(&self) -> u64 {
        self.over_quota.load(Ordering::Relaxed)
    }

    /// Returns how many commits the store has refused because it had failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Returns the bytes of all keys and values that were written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Returns how long the batches took. Each was written with one sync.
    #[must_use]
    pub fn batches(&self) -> HistogramCounts<{ BATCH_BOUNDS.len() }> {
        self.batches.counts()
    }

    /// Counts the outcomes of the calls of a batch.
    pub(super) fn count_outcomes(&self, outcomes: &[Result<Revision, CommitError>]) {
        HighWater::StoreBatch.note(outcomes.len());
        for outcome in outcomes {
            let count = match outcome {
                Ok(_) => &self.commits,
                Err(CommitError::Conflict | CommitError::OtherGeneration) => &self.conflicts,
                Err(CommitError::Quota { .. } | CommitError::Jobs(_) | CommitError::Deliveries(_)) => &self.over_quota,
                Err(CommitError::NotShared(_) | CommitError::Failed(_) | CommitError::Stopping) => &self.failures,
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a batch that was written.
    pub(super) fn count_batch(&self, writes: &Writes, took: Duration) {
        let bytes: usize =
            writes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, |value| value.len())).sum();
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.batches.add(&BATCH_BOUNDS, took, 1);
    }
}
