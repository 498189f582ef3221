//! How a plugin fails.

use std::fmt;

use crate::limits::{keys, limit_key};

/// The kind of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The guest trapped: a panic, an exception, an impossible instruction.
    Trap,
    /// The call used more CPU time or wall time than its limit.
    Deadline,
    /// The guest requested more memory than its limit, and failed.
    Memory,
    /// An effect or a result exceeds a limit of size or number.
    Oversize,
    /// A queue for its effects was full.
    Overflow,
    /// The store failed, or the plugin's quota is used up.
    Store,
    /// The guest returned a failure, or broke the contract.
    Failed,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [Self; 7] =
        [Self::Trap, Self::Deadline, Self::Memory, Self::Oversize, Self::Overflow, Self::Store, Self::Failed];

    /// Its name in the contract, in logs and in metrics.
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

/// The beginning of the description of a call that took too much wall time.
const TOOK_TOO_LONG: &str = "the call took more than";

/// The most bytes of a guest's text in one log line.
pub const DETAIL_BYTES_MAX: usize = 8 << 10;

/// A guest's text as one log line: truncated, and with its control characters escaped.
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
    /// Its description, for the log. Clients don't see it.
    pub detail: String,
    is_outdated: bool,
    is_of_host: bool,
}

impl Fault {
    /// A fault with its detail. A guest's text may be long, or look like log lines. So it is truncated to
    /// [`DETAIL_BYTES_MAX`], and its control characters are escaped.
    pub fn new(kind: FaultKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: one_line(detail.into()), is_outdated: false, is_of_host: false }
    }

    /// The same fault with another detail.
    #[must_use]
    pub fn with_detail(&self, detail: impl Into<String>) -> Self {
        Self { is_outdated: self.is_outdated, is_of_host: self.is_of_host, ..Self::new(self.kind, detail) }
    }

    /// What the call has read of the store was changed by another host, before the call had read everything. It can run again.
    pub fn outdated(detail: impl Into<String>) -> Self {
        Self { is_outdated: true, ..Self::new(FaultKind::Store, detail) }
    }

    /// Whether the call can run again.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.is_outdated
    }

    /// The guest failed, or broke the contract.
    pub fn failed(detail: impl Into<String>) -> Self {
        Self::new(FaultKind::Failed, detail)
    }

    /// The host failed, and the plugin has no part in it. For example, the task of the call was cancelled because the host stops.
    #[must_use]
    pub fn of_host(detail: &str) -> Self {
        Self::failed(format!("a fault of the host: {detail}")).caused_by_host()
    }

    /// The same fault, if something else than the call is the cause.
    #[must_use]
    pub fn caused_by_host(self) -> Self {
        Self { is_of_host: true, ..self }
    }

    /// The call took longer than it may.
    #[must_use]
    pub fn wall_time(limit_ms: u128) -> Self {
        let key = limit_key(keys::CALL_WALL_MS, limit_ms);
        Self::new(FaultKind::Deadline, format!("{TOOK_TOO_LONG} {limit_ms} ms{key}"))
    }

    /// Whether the call itself is the cause. Otherwise it may have waited for too long, for an instance or for the store, or
    /// a queue was full: this depends on other calls. Or the host has failed.
    #[must_use]
    pub fn is_of_call(&self) -> bool {
        match self.kind {
            FaultKind::Trap | FaultKind::Memory | FaultKind::Oversize | FaultKind::Failed => !self.is_of_host,
            FaultKind::Deadline => !self.detail.starts_with(TOOK_TOO_LONG),
            FaultKind::Overflow | FaultKind::Store => false,
        }
    }

    /// A call without a member read something about its member.
    #[must_use]
    pub fn no_member() -> Self {
        Self::failed("this callback has no member")
    }

    /// A call without a connection request read something about its request.
    #[must_use]
    pub fn no_request() -> Self {
        Self::failed("this callback has no connection request")
    }

    /// A call that may not use the store used it.
    #[must_use]
    pub fn no_store() -> Self {
        Self::failed("this callback has no access to the store")
    }

    /// A call used entries in a callback that gets no room, or in a topic without a memory room.
    #[must_use]
    pub fn no_entries() -> Self {
        Self::failed(
            "this call has no entries: only callbacks that get a room have them, and only if the route has `room` = `memory` \
             (`const ENTRIES: bool = true` in Rust)",
        )
    }

    /// A call waited for an answer by HTTP in a callback that can't.
    #[must_use]
    pub fn no_http() -> Self {
        Self::failed(
            "this callback can't wait for an answer by HTTP: only `join`, `handle_in`, `handle_info`, `handle_message`, \
             `handle_topic_info`, `handle_tick`, `handle_seat` and a gatekeeper's `connect` can",
        )
    }

    /// A call asked for an effect or a write after it had discarded its effects.
    #[must_use]
    pub fn discarded() -> Self {
        Self::failed("the call has discarded its effects, so it can't have another effect, and can't write any more")
    }

    /// A call that may only read the store wrote to it.
    #[must_use]
    pub fn read_only() -> Self {
        Self::failed("this callback may only read the store")
    }

    /// A call replied, and no message waits for a reply.
    #[must_use]
    pub fn unanswerable() -> Self {
        Self::failed("there is no message to answer here; use socket.reply with a kept ref")
    }

    /// A call logged more lines than it may.
    #[must_use]
    pub fn log_lines(most: usize) -> Self {
        let key = limit_key(keys::LOG_LINES_PER_CALL, most);
        Self::oversize(format!("a call logs at most {most} lines{key}"))
    }

    /// The guest's program ended itself.
    #[must_use]
    pub fn exited(status: u32) -> Self {
        Self::new(FaultKind::Trap, format!("the plugin called `exit` with the status {status}"))
    }

    /// The plugin refused to upgrade a state, for this reason.
    #[must_use]
    pub fn upgrade_refused(why: &str) -> Self {
        Self::failed(format!("the plugin refused the upgrade: {why}"))
    }

    /// The plugin refused to upgrade an entry, for this reason.
    #[must_use]
    pub fn entry_refused(key: &[u8], version: u32, why: &str) -> Self {
        let key = String::from_utf8_lossy(key);
        Self::failed(format!("the plugin refused the upgrade of the entry {key:?} of version {version}: {why}"))
    }

    /// A queue has no room for the effects of a call.
    #[must_use]
    pub fn overflow() -> Self {
        Self::overflowed("a queue that the effects go to is full")
    }

    /// A member's queue has no room for a message from elsewhere.
    #[must_use]
    pub fn flooded() -> Self {
        Self::overflowed("too many messages from elsewhere wait for the member")
    }

    fn overflowed(what: &str) -> Self {
        let (entries, bytes) = (keys::MAILBOX_FROM_ELSEWHERE, keys::MAILBOX_BYTES_FROM_ELSEWHERE);
        Self::new(FaultKind::Overflow, format!("{what} (`limits.{entries}`, `limits.{bytes}`)"))
    }

    /// Something exceeds a limit of size or number.
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
    fn a_fault_of_the_host_is_not_of_the_call() {
        assert!(Fault::failed("no").is_of_call());
        let fault = Fault::of_host("a task was cancelled").with_detail("more");
        assert!(!fault.is_of_call() && !fault.is_outdated() && fault.detail == "more", "{fault}");
        assert!(Fault::outdated("changed").with_detail("more").is_outdated());
    }

    #[test]
    fn a_guests_text_becomes_one_line_of_limited_length() {
        assert_eq!(one_line("é\n2026 ERROR forged\u{1b}[2J".into()), "é\\n2026 ERROR forged\\u{1b}[2J");
        assert_eq!(one_line("é".repeat(DETAIL_BYTES_MAX)).len(), DETAIL_BYTES_MAX);
    }
}
