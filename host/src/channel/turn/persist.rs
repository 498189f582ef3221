//! The store's part of a turn: commits drafts, and limits the time for which a call with conflicts is retried.

use std::time::Duration;

use tokio::time::Instant;

use crate::contract::{Fault, FaultKind};
use crate::counts::Limit;
use crate::store::{CommitError, Draft, Store};

/// How long a call is retried while other commits change its reads. Each conflict means that another call has succeeded.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// The result of a commit to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::channel) enum Persisted {
    /// Everything is stored, or there was nothing to store.
    Done,
    /// Another commit has changed something that the call has read, or the cluster has switched to another generation of the plugin:
    /// nothing was stored, and the call must run again.
    Conflict,
}

/// Until when a call is retried.
pub(in crate::channel) struct RetryDeadline(Instant);

impl RetryDeadline {
    pub(in crate::channel) fn new() -> Self {
        Self(Instant::now())
    }

    /// Whether to retry.
    ///
    /// # Errors
    /// If the retries have taken too long.
    pub(in crate::channel) fn check(&self) -> Result<(), Fault> {
        if self.0.elapsed() < RETRY_MAX {
            return Ok(());
        }
        Limit::StoreConflicts.hit();
        let limit = RETRY_MAX.as_secs();
        Err(Fault::new(
            FaultKind::Store,
            format!("other commits changed the call's reads at each attempt for {limit} s"),
        ))
    }
}

/// Stores a draft.
pub(in crate::channel) async fn commit_draft(store: &Store, draft: Box<Draft>) -> Result<Persisted, Fault> {
    // Boxed because most turns store nothing. Otherwise each turn would need the memory for it.
    match Box::pin(store.commit(*draft)).await {
        Ok(_) => Ok(Persisted::Done),
        Err(error) => refused(&error),
    }
}

/// Whether the store still has what a call has read.
pub(in crate::channel) async fn is_current(store: &Store, draft: &Draft) -> Result<bool, Fault> {
    let current = store.is_current(draft).await;
    current.map_err(|error| Fault::new(FaultKind::Store, format!("the store can't be read: {error}")))
}

/// What follows from a draft that wasn't committed: a retry, or a fault.
pub(in crate::channel) fn refused(error: &CommitError) -> Result<Persisted, Fault> {
    match error {
        CommitError::Conflict | CommitError::OtherGeneration => Ok(Persisted::Conflict),
        CommitError::Deliveries(full) => Err(Fault::oversize(full.to_string())),
        CommitError::Jobs(full) => Err(Fault::oversize(full.to_string())),
        error => Err(Fault::new(FaultKind::Store, error.to_string())),
    }
}
