//! How a callback fails.

use std::fmt;

/// A plugin's failure: nothing of the callback is done, and the member ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// `failed` or `oversize`. The host knows further kinds, such as `trap` for a panic.
    pub kind: &'static str,
    /// What happened, for the log.
    pub detail: String,
}

impl Fault {
    pub(super) fn failed(detail: impl Into<String>) -> Self {
        Self { kind: "failed", detail: detail.into() }
    }

    pub(super) fn oversize(detail: impl Into<String>) -> Self {
        Self { kind: "oversize", detail: detail.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.kind, self.detail)
    }
}
