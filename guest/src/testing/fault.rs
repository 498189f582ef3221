//! Faults of callbacks.

use std::fmt;

use bennu_semantics as rules;

/// A plugin's failure. The callback has no effects, and the member ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// `failed`, `oversize`, `overflow`, or `trap` for a value that the SDK refuses. A host has further kinds.
    pub kind: &'static str,
    /// Its description, with the host's text.
    pub detail: String,
}

impl From<rules::Fault> for Fault {
    fn from(fault: rules::Fault) -> Self {
        Self { kind: fault.kind.as_str(), detail: fault.detail }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.kind, self.detail)
    }
}
