//! Counts of requests by their outcome.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::failure::{Failure, FailureKind};
use crate::request::Answer;

/// What has happened to the requests of the host so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboundCounts {
    /// Requests that are under way.
    pub under_way: usize,
    /// Connections that wait for a next request.
    pub idle_connections: usize,
    /// Requests with an answer, whatever its status.
    pub answered: u64,
    /// Requests without an answer, in the order of [`FailureKind::ALL`].
    pub failed: [u64; FailureKind::ALL.len()],
    /// Those of the failed ones that were refused because too many of all plugins were under way.
    pub busy_host: u64,
    /// Those of the failed ones that were refused because too many of the same plugin were under way.
    pub busy_plugins: u64,
    /// Bytes of the bodies of all requests that were answered.
    pub sent_bytes: u64,
    /// Bytes of the decoded bodies of their answers.
    pub received_bytes: u64,
}

/// The counters. They are independent of one another, so relaxed operations are enough.
#[derive(Default)]
pub(crate) struct Counters {
    answered: AtomicU64,
    failed: [AtomicU64; FailureKind::ALL.len()],
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
}

impl Counters {
    pub(crate) fn add(&self, sent_bytes: usize, result: &Result<Answer, Failure>) {
        match result {
            Ok(answer) => {
                self.answered.fetch_add(1, Ordering::Relaxed);
                self.sent_bytes.fetch_add(sent_bytes as u64, Ordering::Relaxed);
                self.received_bytes.fetch_add(answer.body.len() as u64, Ordering::Relaxed);
            }
            Err(failure) => {
                let at = FailureKind::ALL.iter().position(|kind| *kind == failure.kind);
                if let Some(count) = at.and_then(|at| self.failed.get(at)) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    pub(crate) fn read(&self) -> OutboundCounts {
        OutboundCounts {
            under_way: 0,
            idle_connections: 0,
            busy_host: 0,
            busy_plugins: 0,
            answered: self.answered.load(Ordering::Relaxed),
            failed: std::array::from_fn(|at| self.failed[at].load(Ordering::Relaxed)),
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
        }
    }
}
