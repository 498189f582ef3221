//! How a plugin fails.

use std::fmt;

/// The kind of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The guest trapped: a panic, an exception, an impossible instruction.
    Trap,
    /// The call took more CPU or wall time than it may.
    Deadline,
    /// The guest asked for more memory than it may have, and failed.
    Memory,
    /// Something it gave or asked for is larger, or more, than it may be.
    Oversize,
    /// A queue that it fills was full.
    Overflow,
    /// The guest said that it failed, or broke the contract.
    Failed,
}

impl FaultKind {
    /// Its word in the contract, in logs and in counts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::Oversize => "oversize",
            Self::Overflow => "overflow",
            Self::Failed => "failed",
        }
    }
}

/// A plugin's failure. It ends one membership and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its kind.
    pub kind: FaultKind,
    /// What happened, for the log. Clients don't see it.
    pub detail: String,
}

impl Fault {
    /// A fault with its detail.
    pub fn new(kind: FaultKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }

    /// The guest failed or broke the contract.
    pub fn failed(detail: impl Into<String>) -> Self {
        Self::new(FaultKind::Failed, detail)
    }

    /// Something is too large.
    pub fn oversize(detail: impl Into<String>) -> Self {
        Self::new(FaultKind::Oversize, detail)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.as_str(), self.detail)
    }
}

impl std::error::Error for Fault {}
