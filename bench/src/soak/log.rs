//! The log of the host: read, or not read for a while, and its lines that nobody expects.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::ChildStderr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

use crate::attack::attackers::ATTACKERS;

/// Fields of lines that count others, which were left out or lost: `docs/logs.md` lists them.
const COUNTING: [&str; 2] = ["left_out", "lines"];

/// The plugin whose faults the attackers cause.
const FAILING: &str = "naughty";

/// Reasons for which any client may be refused or closed: the attackers may use all connections that aren't sockets yet, and the host
/// stops at the end. All other reasons are only those of the attackers.
const FOR_ALL: [&str; 2] = ["connection_limit", "stopping"];

/// Reasons that are failures of the host itself.
const FAILURES: [&str; 2] = ["host_failed", "host_panicked"];

/// Targets whose lines are all expected: lines of plugins, and remarks about the configuration of the soak.
const TARGETS: [&str; 2] = ["guest", "bennu::server::findings"];

/// The beginnings of the other lines that are expected.
const MESSAGES: [&str; 8] = [
    "the data directory is",
    "the key of the API is",
    "plugin_loaded",
    "plugin_reloaded",
    "plugin_on_probation",
    "plugin_proved",
    "the host stops",
    "the store",
];

/// The most unexpected lines that are kept.
const KEPT_MAX: usize = 20;

/// The thread that reads the log.
pub(super) struct Log {
    is_stalled: Arc<AtomicBool>,
    found: Arc<Mutex<Found>>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Found {
    lines: usize,
    levels: BTreeMap<String, usize>,
    unexpected: Vec<String>,
}

impl Log {
    /// Begins to read.
    pub(super) fn read(pipe: ChildStderr) -> Self {
        let (is_stalled, found) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Found>>::default());
        let (stalled, lines) = (Arc::clone(&is_stalled), Arc::clone(&found));
        let thread = thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                while stalled.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(10));
                }
                lines.lock().unwrap_or_else(PoisonError::into_inner).add(&line);
            }
        });
        Self { is_stalled, found, thread }
    }

    /// Reads no more lines, or goes on.
    pub(super) fn stall(&self, is_stalled: bool) {
        self.is_stalled.store(is_stalled, Ordering::Relaxed);
    }

    /// Describes the lines that were read.
    pub(super) fn summary(&self) -> String {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let levels: Vec<_> = found.levels.iter().map(|(level, count)| format!("{count} {level}")).collect();
        format!("{} ({})", found.lines, levels.join(", "))
    }

    /// Reads to the end, and returns the lines that nobody expects. The host must have ended.
    pub(super) fn unexpected(&self) -> Vec<String> {
        while !self.thread.is_finished() {
            thread::sleep(Duration::from_millis(10));
        }
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.unexpected.iter().map(|line| format!("an unexpected line of the log: {line}")).collect()
    }
}

impl Found {
    fn add(&mut self, line: &str) {
        self.lines += 1;
        let fields: Value = serde_json::from_str(line).unwrap_or_default();
        let text = |name: &str| fields[name].as_str().unwrap_or_default();
        *self.levels.entry(text("level").to_owned()).or_default() += 1;
        if !is_expected(&fields) && self.unexpected.len() < KEPT_MAX {
            self.unexpected.push(line.to_owned());
        }
    }
}

/// Whether a line is about what the soak does. A fault of another plugin, or a neighbour that is refused or closed, isn't expected.
fn is_expected(fields: &Value) -> bool {
    let text = |name: &str| fields[name].as_str().unwrap_or_default();
    let is_there = |name: &str| !fields[name].is_null();
    if is_there("kind") {
        return text("plugin") == FAILING;
    }
    if COUNTING.into_iter().any(is_there) {
        return true;
    }
    if is_there("reason") || is_there("limit") {
        // The lines about a client have its address, if it is known.
        let of_attackers = !is_there("peer") || text("peer").starts_with(&format!("{ATTACKERS}:"));
        return !FAILURES.contains(&text("reason")) && (of_attackers || FOR_ALL.contains(&text("reason")));
    }
    TARGETS.contains(&text("target")) || MESSAGES.iter().any(|start| text("message").starts_with(start))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_troubles_of_the_soak_are_expected() {
        for (line, expected) in [
            (json!({ "kind": "trap", "plugin": "naughty", "message": "fault: panicked" }), true),
            (json!({ "kind": "trap", "plugin": "echo", "message": "fault: panicked" }), false),
            (json!({ "reason": "idle", "peer": "127.0.0.66:5000", "message": "a client was closed" }), true),
            (json!({ "reason": "idle", "peer": "127.0.0.1:5000", "message": "a client was closed" }), false),
            (json!({ "reason": "host_panicked", "peer": "127.0.0.66:5000" }), false),
            (json!({ "reason": "connection_limit", "peer": "127.0.0.1:5000" }), true),
            (json!({ "limit": "address_messages", "peer": "127.0.0.66:5000", "times": 3 }), true),
            (json!({ "limit": "address_messages", "peer": "127.0.0.1:5000", "times": 3 }), false),
            (json!({ "reason": "idle", "left_out": 7 }), true),
            (json!({ "message": "plugin_reloaded", "plugin": "echo" }), true),
            (json!({ "message": "plugin_taken_back", "plugin": "echo" }), false),
            (json!({ "message": "a fault of the host: serving a connection caused a panic" }), false),
        ] {
            assert_eq!(is_expected(&line), expected, "{line}");
        }
    }
}
