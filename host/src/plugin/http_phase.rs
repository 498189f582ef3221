//! Whether a call may wait for answers by HTTP.

use std::sync::Arc;

use crate::contract::HttpJournal;

/// Whether a call may wait for answers by HTTP.
#[derive(Default)]
pub(super) enum HttpPhase {
    /// It may not.
    #[default]
    Closed,
    /// It may. `journal` has the answers of the call's earlier runs, and `place` is the number of requests in this run.
    Open { journal: Arc<HttpJournal>, place: usize },
}

impl HttpPhase {
    /// The begin of a run of a call with this journal.
    pub(super) fn of(journal: Option<&Arc<HttpJournal>>) -> Self {
        journal.map_or(Self::Closed, |journal| Self::Open { journal: Arc::clone(journal), place: 0 })
    }
}
