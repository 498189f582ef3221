//! What the host itself tells a topic: a job that is due, or the start of a generation. `channel/topic_info.rs` handles it.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::contract::jobs::{JobId, JobRow};

/// What a topic is told.
pub(in crate::channel) enum InfoCause {
    /// A job is due.
    Job(DueJob),
    /// A generation of the topic's plugin began to serve.
    Start,
}

/// A job that is due.
#[derive(Debug)]
pub struct DueJob {
    /// Its identity.
    pub id: Arc<JobId>,
    /// The time by which it is due, in milliseconds since 1970.
    pub now_ms: u64,
    /// The job that takes its place when it is done, or is given up. A schedule has none.
    pub next: Option<JobRow>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InfoOutcome {
    /// The callback was committed.
    Done,
    /// The job was replaced or cancelled meanwhile, and the callback didn't run, or nothing of it was committed.
    Changed,
    /// No plugin that takes such messages serves the topic.
    Unserved,
    /// The callback failed.
    Failed,
}

/// A message for a topic, and who waits for the result.
pub(in crate::channel) struct InfoJob {
    pub(in crate::channel) told: InfoCause,
    pub(in crate::channel) result: oneshot::Sender<InfoOutcome>,
}
