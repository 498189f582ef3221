//! The log: events of `tracing`, which a separate thread writes to standard error.
//!
//! Nothing here can end the process or block a thread that serves: a line that can't be written is lost, and counted.

mod filter;
mod observed;
mod writer;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, registry, reload};

pub use self::observed::LogEvent;
use self::observed::Observer;
use self::writer::LogWriter;
use super::LogFormat;
use crate::contract::one_line;

/// How long the end of the process waits for the log to be written. A blocked reader must not keep the process alive.
const FLUSH_WAIT: Duration = Duration::from_secs(1);

/// The writer of the log, set once by [`start_logging`]. It is a static, like the subscriber of `tracing`.
static WRITER: OnceLock<LogWriter> = OnceLock::new();

/// The filter of the log, which can be replaced. It is set once, by [`start_logging`].
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Starts logging, once for the process. `filter` is a level or directives, such as `info,guest=debug`. Afterwards, a panic is
/// logged as a line too.
///
/// # Errors
/// Returns an error if the filter can't be parsed, or if logging was started before.
pub fn start_logging(filter: &str, format: LogFormat) -> Result<()> {
    let (targets, handle) = reload::Layer::new(filter::parse(filter)?);
    let writer = LogWriter::start(io::stderr()).context("starting the thread that writes the log")?;
    // The layer would report a line that can't be written with `eprintln!`, which panics if standard error fails.
    let log = tracing_subscriber::fmt::layer().with_writer(writer.clone()).log_internal_errors(false);
    let started = match format {
        LogFormat::Human => {
            let log = log.with_target(false).with_ansi(io::stderr().is_terminal());
            registry().with(log.with_filter(targets)).try_init()
        }
        LogFormat::Json => registry().with(log.json().flatten_event(true).with_filter(targets)).try_init(),
    };
    started.map_err(|error| anyhow!("starting the log: {error}"))?;
    // Never fails, because a second start has already returned with an error.
    let _ = FILTER.set(handle);
    finish_start(writer);
    Ok(())
}

/// Replaces the filter of the log, if [`start_logging`] has started it.
///
/// # Errors
/// Returns an error if the filter can't be parsed.
pub(super) fn replace_filter(filter: &str) -> Result<()> {
    let targets = filter::parse(filter)?;
    if let Some(handle) = FILTER.get() {
        handle.reload(targets).context("replacing the filter of the log")?;
    }
    Ok(())
}

/// Starts logging like [`start_logging`]. `show` makes the text of each event, which may have several lines, or none.
///
/// # Errors
/// Returns an error if the filter can't be parsed, or if logging was started before.
pub fn start_logging_with(
    filter: &str,
    show: impl Fn(&LogEvent) -> Option<String> + Send + Sync + 'static,
) -> Result<()> {
    let targets = filter::parse(filter)?;
    let writer = LogWriter::start(io::stderr()).context("starting the thread that writes the log")?;
    let started = registry().with(Observer::new(show, writer.clone()).with_filter(targets)).try_init();
    started.map_err(|error| anyhow!("starting the log: {error}"))?;
    finish_start(writer);
    Ok(())
}

fn finish_start(writer: LogWriter) {
    // Never fails, because a second start has already returned with an error.
    let _ = WRITER.set(writer);
    panic::set_hook(Box::new(log_panic));
}

/// Checks a log filter.
///
/// # Errors
/// Returns an error that says what is allowed if the filter can't be parsed.
pub(super) fn check_filter(filter: &str) -> Result<()> {
    filter::parse(filter).map(drop)
}

/// Returns how many lines of the log could not be written since the process started.
#[must_use]
pub fn log_lines_lost() -> u64 {
    WRITER.get().map_or(0, LogWriter::lost)
}

/// Writes a line to standard error, after the queued lines of the log. If that fails, the line is lost.
pub fn write_error_line(text: &str) {
    match WRITER.get() {
        Some(writer) => writer.push(format!("{text}\n").as_bytes()),
        None => drop(writeln!(io::stderr(), "{text}")),
    }
}

/// Waits until the log is written, for at most one second. Call it at the end of the process.
pub fn flush_log() {
    if let Some(writer) = WRITER.get() {
        writer.flush(FLUSH_WAIT);
    }
}

/// Logs a panic as one line. The default hook would write several lines to standard error directly, and block if their reader
/// is blocked.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = one_line(panic.payload_as_str().unwrap_or("(no message)").to_owned());
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = thread::current();
    let thread = thread.name().unwrap_or_default();
    // Captured only if `RUST_BACKTRACE` is set.
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| one_line(backtrace.to_string()));
    tracing::error!(thread, place, backtrace, "a fault of the host: panicked: {message}");
    // A panic of the main thread ends the process, and nothing else would wait for the log.
    if thread == "main" {
        flush_log();
    }
}
