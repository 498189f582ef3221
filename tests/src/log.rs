//! The log of a host under test, which is read while the host writes it.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Result, bail};
use serde_json::Value;

use crate::eventually;

/// A line of the log.
#[derive(Clone, Debug)]
pub struct Line {
    /// The line as it was written.
    pub text: String,
    /// Its fields; null for a line that isn't JSON.
    pub fields: Value,
}

impl Line {
    fn new(text: String) -> Self {
        let fields = serde_json::from_str(&text).unwrap_or(Value::Null);
        Self { text, fields }
    }

    /// A field's text; empty if there is no such field.
    #[must_use]
    pub fn field(&self, name: &str) -> &str {
        self.fields[name].as_str().unwrap_or_default()
    }

    /// The field `message`.
    #[must_use]
    pub fn message(&self) -> &str {
        self.field("message")
    }

    /// Whether a plugin wrote the line.
    #[must_use]
    pub fn is_guest(&self) -> bool {
        self.field("target") == "guest"
    }
}

/// All lines so far. Clones share the lines. The mutex protects the list: a reader thread adds to it while tests read.
#[derive(Clone, Default)]
pub struct Log {
    lines: Arc<Mutex<Vec<Line>>>,
}

impl Log {
    /// Reads lines in a new thread until `from` ends.
    pub(crate) fn read(&self, from: impl Read + Send + 'static) -> JoinHandle<()> {
        let log = self.clone();
        std::thread::spawn(move || {
            // `lines()` would stop at a line that isn't UTF-8. Such a line has to be kept, so that a test can find it.
            for bytes in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                log.lock().push(Line::new(String::from_utf8_lossy(&bytes).into_owned()));
            }
        })
    }

    /// The number of lines. Tests use it as a mark, to read only later lines.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether no line was written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The lines from a mark on.
    #[must_use]
    pub fn since(&self, mark: usize) -> Vec<Line> {
        self.lock().iter().skip(mark).cloned().collect()
    }

    /// Waits for a line after a mark for which `wanted` returns true, and returns the first one.
    ///
    /// # Errors
    /// If the deadline passes first.
    pub async fn find(&self, mark: usize, what: &str, wanted: impl Fn(&Line) -> bool) -> Result<Line> {
        let found = eventually(what, async || Ok(self.since(mark).into_iter().find(&wanted))).await;
        found.map_err(|error| error.context(format!("the log has\n{}", self.tail(20))))
    }

    /// The last lines, for the message of a failed test.
    #[must_use]
    pub fn tail(&self, lines: usize) -> String {
        let all = self.lock();
        let last = &all[all.len().saturating_sub(lines)..];
        last.iter().map(|line| format!("  {}\n", line.text)).collect()
    }

    /// Asserts that the host wrote only JSON log lines. A panic message, for example, isn't JSON.
    ///
    /// # Errors
    /// If there are other lines; the error shows them.
    pub fn check(&self) -> Result<()> {
        let odd: Vec<String> =
            self.since(0).into_iter().filter(|line| !line.fields.is_object()).map(|line| line.text).collect();
        if odd.is_empty() { Ok(()) } else { bail!("the host wrote lines that aren't log lines:\n{}", odd.join("\n")) }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
