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
    /// The storage failed, or has no more room for this plugin.
    Store,
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
            Self::Store => "store",
            Self::Failed => "failed",
        }
    }
}

/// The most bytes of a guest's text that go into the log at once.
pub const DETAIL_BYTES_MAX: usize = 8 << 10;

/// A guest's text as one line of a log: cut, and with its control characters written out.
#[must_use]
pub fn one_line(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(DETAIL_BYTES_MAX));
    if text.contains(char::is_control) {
        let escape = |character: char| -> String {
            if character.is_control() { character.escape_default().collect() } else { character.into() }
        };
        return text.chars().map(escape).collect();
    }
    text
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
    /// A fault with its detail. What a guest says may be long, and may look like lines of a log: it is cut at
    /// [`DETAIL_BYTES_MAX`], and its control characters are written out.
    pub fn new(kind: FaultKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: one_line(detail.into()) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_text_is_one_line_and_no_longer_than_it_may_be() {
        assert_eq!(one_line("é\n2026 ERROR forged\u{1b}[2J".into()), "é\\n2026 ERROR forged\\u{1b}[2J");
        assert_eq!(one_line("é".repeat(DETAIL_BYTES_MAX)).len(), DETAIL_BYTES_MAX);
    }
}
