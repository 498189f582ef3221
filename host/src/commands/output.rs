//! What commands write to standard output and standard error. The macros of the standard library panic where a write fails, so
//! they are banned in this crate.
//!
//! A write to standard output that fails ends nothing by itself: the command does its work, what it has to say from then on is
//! left out, and [`finish`] draws the consequence. A reader that has gone, as that of `bennu topics | head -1`, has what it
//! wanted: the command ends quietly, with the status of its work. Any other failure, such as a full disk, is said in a sentence
//! on standard error, and the command fails.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use bennu::contract::plain;
use bennu::server::{flush_log, write_error_line};

use super::shown;

/// The first failure to write to standard output.
static FAILURE: Mutex<Option<io::Error>> = Mutex::new(None);

/// The pause before another attempt where a non-blocking pipe is full.
const RETRY: Duration = Duration::from_millis(10);

/// The status of a command line that can't be read.
const USAGE: u8 = 2;

/// Writes a line to standard output.
macro_rules! out_line {
    ($($text:tt)*) => { $crate::commands::output::line(format_args!($($text)*)) };
}

/// Writes a line to standard error.
macro_rules! error_line {
    ($($text:tt)*) => { bennu::server::write_error_line(&format!($($text)*)) };
}

pub(super) use {error_line, out_line};

/// Standard output, for a command that writes more than lines.
pub(super) struct Out;

/// Marks the error of a command that ended since its output could not be written.
#[derive(Debug)]
struct Cut;

/// Writes a line to standard output, unless writing has failed before.
pub(super) fn line(text: fmt::Arguments<'_>) {
    // A failure is kept, for the end of the command.
    let _ = Out.write_all(format!("{text}\n").as_bytes());
}

/// Writes a line to standard output and says whether it could, with no consequence for the process.
pub(super) fn try_line(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    let text = format!("{text}\n");
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match patiently(|| out.write(rest))? {
            0 => return Err(ErrorKind::WriteZero.into()),
            written => rest = &rest[written..],
        }
    }
    patiently(|| out.flush())
}

/// Ends a command: says why it failed, if it did, and gives the status of the process.
pub(crate) fn finish(done: Result<()>) -> ExitCode {
    let _ = Out.flush();
    let failure = lock().take();
    let mut status = ExitCode::SUCCESS;
    if let Err(error) = done
        && !is_cut(&error)
    {
        // It may quote what a plugin or a client has said.
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

/// Whether a command failed only since its output could not be written.
fn is_cut(error: &anyhow::Error) -> bool {
    let is_cut = |error: &io::Error| error.get_ref().is_some_and(|inner| inner.is::<Cut>());
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(is_cut))
}

/// Ends a command line that is no command: it asks for help or the version, or can't be read.
pub(crate) fn explain(error: &clap::Error) -> ExitCode {
    let printed = error.print();
    if error.use_stderr() {
        // There is nobody else to tell.
        return ExitCode::from(USAGE);
    }
    if let Err(failure) = printed {
        note(failure);
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

/// Does something with standard output, unless that has failed before.
fn attempt<T>(work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let cut = || io::Error::other(Cut);
    if lock().is_some() {
        return Err(cut());
    }
    patiently(work).map_err(|failure| {
        note(failure);
        cut()
    })
}

/// Standard output may be a pipe that somebody else has made non-blocking: a full one is waited for.
fn patiently<T>(mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match work() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

fn note(failure: io::Error) {
    lock().get_or_insert(failure);
}

/// Nothing in here can panic half-way through a change, so a poisoned lock is as good as another.
fn lock() -> std::sync::MutexGuard<'static, Option<io::Error>> {
    FAILURE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("standard output can't be written")
    }
}

impl std::error::Error for Cut {}
