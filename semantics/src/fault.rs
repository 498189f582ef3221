//! How a plugin fails.

use std::fmt;

use crate::limits::{keys, limit_key};

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

    /// A call asked about a member, and has none.
    #[must_use]
    pub fn no_member() -> Self {
        Self::failed("this callback has no member")
    }

    /// A call asked about a request, and has none.
    #[must_use]
    pub fn no_request() -> Self {
        Self::failed("this callback has no connection request")
    }

    /// A call used the store, and has none.
    #[must_use]
    pub fn no_store() -> Self {
        Self::failed("this callback has no access to the store")
    }

    /// A call wrote to the store, and may only read it.
    #[must_use]
    pub fn read_only() -> Self {
        Self::failed("this callback may only read the store")
    }

    /// A call replied, and no message waits for a reply.
    #[must_use]
    pub fn unanswerable() -> Self {
        Self::failed("there is no message to answer here; use socket.reply with a kept ref")
    }

    /// A call logged more than it may.
    #[must_use]
    pub fn log_lines(most: usize) -> Self {
        let key = limit_key(keys::LOG_LINES_PER_CALL, most);
        Self::oversize(format!("a call logs at most {most} lines{key}"))
    }

    /// An upgrade of a state was refused, with these words of the plugin.
    #[must_use]
    pub fn upgrade_refused(why: &str) -> Self {
        Self::failed(format!("its upgrade refused: {why}"))
    }

    /// A queue has no room for what a call asked for.
    #[must_use]
    pub fn overflow() -> Self {
        Self::overflowed("a queue that the effects go to is full")
    }

    /// More came for a member than may wait for it.
    #[must_use]
    pub fn flooded() -> Self {
        Self::overflowed("too much that came from elsewhere waits")
    }

    fn overflowed(what: &str) -> Self {
        let (entries, bytes) = (keys::MAILBOX_FROM_ELSEWHERE, keys::MAILBOX_BYTES_FROM_ELSEWHERE);
        Self::new(FaultKind::Overflow, format!("{what} (`limits.{entries}`, `limits.{bytes}`)"))
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
