//! The log of a host under test, read as it is written.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Result, bail};
use serde_json::Value;

use crate::eventually;

/// A line of the log.
#[derive(Clone, Debug)]
pub struct Line {
    /// As it was written.
    pub text: String,
    /// Its fields; null for a line that is no JSON.
    pub fields: Value,
}

impl Line {
    fn new(text: String) -> Self {
        let fields = serde_json::from_str(&text).unwrap_or(Value::Null);
        Self { text, fields }
    }

    /// A field's text; empty where it isn't there.
    #[must_use]
    pub fn field(&self, name: &str) -> &str {
        self.fields[name].as_str().unwrap_or_default()
    }

    /// What it says.
    #[must_use]
    pub fn message(&self) -> &str {
        self.field("message")
    }

    /// Whether a guest wrote it.
    #[must_use]
    pub fn is_guest(&self) -> bool {
        self.field("target") == "guest"
    }
}

/// All lines so far. Cloning shares them.
#[derive(Clone, Default)]
pub struct Log {
    lines: Arc<Mutex<Vec<Line>>>,
}

impl Log {
    /// Reads lines until `from` ends, in a thread of its own.
    pub(crate) fn read(&self, from: impl Read + Send + 'static) -> JoinHandle<()> {
        let log = self.clone();
        std::thread::spawn(move || {
            // Not by `lines()`: a line that is no UTF-8 is a finding too, and not the end.
            for bytes in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                log.lock().push(Line::new(String::from_utf8_lossy(&bytes).into_owned()));
            }
        })
    }

    /// How many lines there are: a mark to look on from.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether nothing was written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The lines from a mark on.
    #[must_use]
    pub fn since(&self, mark: usize) -> Vec<Line> {
        self.lock().iter().skip(mark).cloned().collect()
    }

    /// The first line from a mark on that is what is looked for, once it is written.
    ///
    /// # Errors
    /// Where the deadline passes before.
    pub async fn find(&self, mark: usize, what: &str, wanted: impl Fn(&Line) -> bool) -> Result<Line> {
        let found = eventually(what, async || Ok(self.since(mark).into_iter().find(&wanted))).await;
        found.map_err(|error| error.context(format!("the log has\n{}", self.tail(20))))
    }

    /// The last lines, for the message of a test that failed.
    #[must_use]
    pub fn tail(&self, lines: usize) -> String {
        let all = self.lock();
        let last = &all[all.len().saturating_sub(lines)..];
        last.iter().map(|line| format!("  {}\n", line.text)).collect()
    }

    /// Asserts that the host itself wrote nothing but the JSON of its log: no panic of its own, for one.
    ///
    /// # Errors
    /// Shows what else there is.
    pub fn check(&self) -> Result<()> {
        let odd: Vec<String> =
            self.since(0).into_iter().filter(|line| !line.fields.is_object()).map(|line| line.text).collect();
        if odd.is_empty() { Ok(()) } else { bail!("the host wrote what is no log line:\n{}", odd.join("\n")) }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
