//! How a callback fails.

use std::fmt;

use super::limits::LINE_BYTES;

/// A plugin's failure: nothing of the callback is done, and the member ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// `failed`, `oversize` or `overflow`. The host knows further kinds, such as `trap` for a panic.
    pub kind: &'static str,
    /// What happened, for the log.
    pub detail: String,
}

impl Fault {
    pub(super) fn failed(detail: impl Into<String>) -> Self {
        Self { kind: "failed", detail: one_line(&detail.into()) }
    }

    /// There is no room for what a call asked for.
    pub(super) fn overflow() -> Self {
        Self { kind: "overflow", detail: "a queue that the effects go to is full".into() }
    }

    /// More has come for a member than may wait for it.
    pub(super) fn flooded() -> Self {
        Self { kind: "overflow", detail: "too much that came from elsewhere waits".into() }
    }

    /// A reply was given where nobody waits for one.
    pub(super) fn unanswerable() -> Self {
        Self::failed("there is no message to answer here; use socket.reply with a kept ref")
    }

    pub(super) fn oversize(detail: impl Into<String>) -> Self {
        Self { kind: "oversize", detail: one_line(&detail.into()) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.kind, self.detail)
    }
}

/// A plugin's text as one line of the host's log: cut, and with its control characters written out.
pub(super) fn one_line(text: &str) -> String {
    let cut = &text[..text.floor_char_boundary(LINE_BYTES)];
    let mut line = String::with_capacity(cut.len());
    for character in cut.chars() {
        match character {
            control if control.is_control() => line.extend(control.escape_default()),
            other => line.push(other),
        }
    }
    line
}
