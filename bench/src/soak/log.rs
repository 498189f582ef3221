//! The log of the host: read, or not read for a while, and its lines that nobody expects.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::ChildStderr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

/// Fields that only lines about expected troubles have: `docs/logs.md` lists them. They are about clients that are refused or
/// closed, limits of clients, lines that were left out or lost, and faults.
const FIELDS: [&str; 5] = ["reason", "limit", "left_out", "lines", "kind"];

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
        let is_expected = FIELDS.iter().any(|field| !fields[*field].is_null())
            || TARGETS.contains(&text("target"))
            || MESSAGES.iter().any(|start| text("message").starts_with(start));
        if !is_expected && self.unexpected.len() < KEPT_MAX {
            self.unexpected.push(line.to_owned());
        }
    }
}
