//! The log: `tracing`, to standard error, by a thread of its own.
//!
//! Nothing here can end the process or hold up a thread that serves: what can't be written is lost, and counted.

mod filter;
mod writer;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry;
use tracing_subscriber::util::SubscriberInitExt;

use self::writer::LogWriter;
use super::LogFormat;
use crate::contract::one_line;

/// How long the end of the process waits for the log to be written. A reader that stands still must not keep the process.
const FLUSH_WAIT: Duration = Duration::from_secs(1);

/// The log is the process's, and so is its writer.
static WRITER: OnceLock<LogWriter> = OnceLock::new();

/// Starts logging, once for the process. `filter` is a level or directives, such as `info,guest=debug`. From then on a panic is
/// a line of the log too.
///
/// # Errors
/// Where the filter can't be read, or logging was started before.
pub fn start_logging(filter: &str, format: LogFormat) -> Result<()> {
    let targets = filter::parse(filter)?;
    let writer = LogWriter::start(io::stderr()).context("starting the thread that writes the log")?;
    // The layer's own word about a line that can't be written would be a `eprintln!`, which panics where that fails.
    let log = tracing_subscriber::fmt::layer().with_writer(writer.clone()).log_internal_errors(false);
    let started = match format {
        LogFormat::Human => {
            let log = log.with_target(false).with_ansi(io::stderr().is_terminal());
            registry().with(log.with_filter(targets)).try_init()
        }
        LogFormat::Json => registry().with(log.json().flatten_event(true).with_filter(targets)).try_init(),
    };
    started.map_err(|error| anyhow!("starting the log: {error}"))?;
    // It is the first, or the subscriber would have been refused.
    let _ = WRITER.set(writer);
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Checks a filter.
///
/// # Errors
/// Where it can't be read: it says what is allowed.
pub(super) fn check_filter(filter: &str) -> Result<()> {
    filter::parse(filter).map(drop)
}

/// How many lines of the log could not be written since the process started.
#[must_use]
pub fn log_lines_lost() -> u64 {
    WRITER.get().map_or(0, LogWriter::lost)
}

/// Writes a line to standard error, after the lines of the log that wait. Where that fails, the line is lost.
pub fn write_error_line(text: &str) {
    match WRITER.get() {
        Some(writer) => writer.push(format!("{text}\n").as_bytes()),
        None => drop(writeln!(io::stderr(), "{text}")),
    }
}

/// Waits until the log is written, for a second at most: to be called at the end of the process.
pub fn flush_log() {
    if let Some(writer) = WRITER.get() {
        writer.flush(FLUSH_WAIT);
    }
}

/// The default hook would write several lines to standard error, and wait for their reader.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = one_line(panic.payload_as_str().unwrap_or("(no message)").to_owned());
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = thread::current();
    let thread = thread.name().unwrap_or_default();
    // Captured only where `RUST_BACKTRACE` asks for it.
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| one_line(backtrace.to_string()));
    tracing::error!(thread, place, backtrace, "a fault of the host: panicked: {message}");
    // The process ends with its first thread, and nobody else would wait for the log.
    if thread == "main" {
        flush_log();
    }
}
