//! What the host itself tells a topic: a job that is due, the start of a generation, or the answer to a request by HTTP. `channel/topic_info.rs` handles it.

use std::sync::Arc;

use bytestring::ByteString;
use tokio::sync::oneshot;

use super::in_flight::InFlight;
use crate::contract::UnderWay;
use crate::contract::jobs::{JobId, JobRow};
use crate::protocol::Payload;

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

/// The answer to a request by HTTP of one of the topic's callbacks.
pub(in crate::channel) struct AnswerJob {
    /// The plugin that asked. Another one that serves the topic by now doesn't get the answer.
    pub(in crate::channel) plugin: Arc<str>,
    pub(in crate::channel) event: ByteString,
    pub(in crate::channel) payload: Payload,
    /// The request counts for its topic until the callback has got the answer. So a topic whose turns take long can't gather any
    /// number of answers.
    pub(in crate::channel) under_way: Option<UnderWay>,
    /// Its share of the bytes that may wait for the plugin's topics.
    pub(in crate::channel) in_flight: Option<InFlight>,
}
