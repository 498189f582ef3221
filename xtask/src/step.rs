//! Progress output: a line when a step begins, and a line with its duration.

use std::env;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use anyhow::Result;

/// Runs `work` as a step: prints a line before it, and the duration after it.
pub(crate) fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("{} {}", paint("1;33", "▸"), paint("1", what));
    let began = Instant::now();
    let made = work()?;
    eprintln!("  {}", paint("2", &format!("{what}: {}", took(began.elapsed()))));
    Ok(made)
}

/// Prints a line that belongs to no step.
pub(crate) fn note(text: &str) {
    eprintln!("  {text}");
}

/// Prints why a command failed: a line for each cause, the outermost first.
pub(crate) fn failed(error: &anyhow::Error) {
    eprintln!("{} {error}", paint("1;31", "error:"));
    for cause in error.chain().skip(1) {
        eprintln!("  because {cause}");
    }
}

/// Formats a duration for people.
pub(crate) fn took(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        ..1.0 => format!("{} ms", time.as_millis()),
        ..60.0 => format!("{seconds:.1} s"),
        _ => format!("{} min {} s", time.as_secs() / 60, time.as_secs() % 60),
    }
}

/// Returns `text` in the terminal colour `code`, or unchanged if standard error isn't a terminal or `NO_COLOR` is set.
pub(crate) fn paint(code: &str, text: &str) -> String {
    if io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none() {
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}
