//! The reasons why a request has no answer.

use std::fmt;

/// The kind of a failure. Plugins get its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Too many requests are under way.
    Busy,
    /// The time is over.
    Timeout,
    /// The answer is larger than its limit.
    TooLarge,
    /// No connection: the name isn't known, no address is allowed, nobody listens, or TLS failed.
    Unreachable,
    /// The answer isn't HTTP, or ended early.
    Broken,
    /// The answer redirects to a URL that isn't allowed, or too often.
    Redirect,
}

/// A request that has no answer. It has no secret, no address, and nothing that the server sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind.
    pub kind: FailureKind,
    /// What is wrong, for a log.
    pub detail: String,
}

impl FailureKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Busy, Self::Timeout, Self::TooLarge, Self::Unreachable, Self::Broken, Self::Redirect];

    /// The name of the kind in the contract.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Timeout => "timeout",
            Self::TooLarge => "too-large",
            Self::Unreachable => "unreachable",
            Self::Broken => "broken",
            Self::Redirect => "redirect",
        }
    }
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }

    pub(crate) fn unreachable(detail: impl Into<String>) -> Self {
        Self::new(FailureKind::Unreachable, detail)
    }

    pub(crate) fn broken(detail: impl Into<String>) -> Self {
        Self::new(FailureKind::Broken, detail)
    }

    /// Too many requests of this plugin, or of the host, are under way.
    #[must_use]
    pub fn busy(detail: &str) -> Self {
        Self::new(FailureKind::Busy, detail)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.detail)
    }
}

impl std::error::Error for Failure {}
