//! Output of the commands to standard output and standard error. The macros of the standard library panic if a write fails, so
//! this crate denies them.
//!
//! A failed write to standard output doesn't end the command: it completes its work without further output, and [`finish`]
//! handles the failure. If the reader has ended, as in `bennu topics | head -1`, the command exits quietly with the status of
//! its work. After any other failure, such as a full disk, the command prints the error to standard error and fails.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::shown;
use crate::contract::plain;
use crate::server::{flush_log, write_error_line};
use anyhow::Result;

/// The first failed write to standard output, until [`finish`] takes it. A mutex, because a static must be thread-safe.
static FAILURE: Mutex<Option<io::Error>> = Mutex::new(None);

/// The pause before the next attempt to write to a full non-blocking pipe.
const RETRY: Duration = Duration::from_millis(10);

/// The exit status for a command line that can't be parsed.
const USAGE: u8 = 2;

/// A [`Write`] to standard output, for a command that writes more than single lines. After a failed write, every write fails.
pub struct Out;

/// Marks the error of a command that ended because its output could not be written. [`finish`] reports the cause itself.
#[derive(Debug)]
struct OutputFailed;

/// Writes a line to standard output, unless an earlier write has failed.
pub fn line(text: fmt::Arguments<'_>) {
    // `FAILURE` keeps the error until the end of the command.
    let _ = Out.write_all(format!("{text}\n").as_bytes());
}

/// Writes a line to standard output and returns the error, if any. The error has no effect on the status of the process.
///
/// # Errors
/// If the line cannot be written.
pub fn try_line(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    let text = format!("{text}\n");
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match retrying(|| out.write(rest))? {
            0 => return Err(ErrorKind::WriteZero.into()),
            written => rest = &rest[written..],
        }
    }
    retrying(|| out.flush())
}

/// Ends a command: prints its error to standard error, if it failed, and returns the status of the process.
#[must_use]
pub fn finish(done: Result<()>) -> ExitCode {
    let _ = Out.flush();
    let failure = lock().take();
    let mut status = ExitCode::SUCCESS;
    if let Err(error) = done
        && !is_output_failure(&error)
    {
        // The error may contain text of a plugin or a client, so control characters are escaped.
        write_error_line(&format!("bennu: {}", shown::lines(&plain(&format!("{error:#}")))));
        status = ExitCode::FAILURE;
    }
    if let Some(failure) = failure.filter(|failure| failure.kind() != ErrorKind::BrokenPipe) {
        write_error_line(&format!("bennu: writing to standard output: {failure}"));
        status = ExitCode::FAILURE;
    }
    flush_log();
    status
}

/// Whether a command failed only because its output could not be written.
fn is_output_failure(error: &anyhow::Error) -> bool {
    let is_output_failure = |error: &io::Error| error.get_ref().is_some_and(|inner| inner.is::<OutputFailed>());
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(is_output_failure))
}

/// Handles a command line without a valid command: it asks for help or the version, or can't be parsed.
#[must_use]
pub fn explain(error: &clap::Error) -> ExitCode {
    let printed = error.print();
    if error.use_stderr() {
        // A failed write to standard error can't be reported anywhere.
        return ExitCode::from(USAGE);
    }
    if let Err(failure) = printed {
        keep_failure(failure);
    }
    finish(Ok(()))
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        attempt(|| io::stdout().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        attempt(|| io::stdout().flush())
    }
}

/// Runs an operation on standard output, unless an earlier operation has failed. Keeps the first failure for [`finish`].
fn attempt<T>(work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let output_failed = || io::Error::other(OutputFailed);
    if lock().is_some() {
        return Err(output_failed());
    }
    retrying(work).map_err(|failure| {
        keep_failure(failure);
        output_failed()
    })
}

/// Repeats an operation until it is neither interrupted nor would block. Standard output may be a pipe that another process
/// has made non-blocking, and then a write to the full pipe would fail.
fn retrying<T>(mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match work() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

fn keep_failure(failure: io::Error) {
    lock().get_or_insert(failure);
}

/// No panic can leave the data half changed, so a poisoned lock is used like any other.
fn lock() -> std::sync::MutexGuard<'static, Option<io::Error>> {
    FAILURE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Display for OutputFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("standard output can't be written")
    }
}

impl std::error::Error for OutputFailed {}
