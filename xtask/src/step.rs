//! How a command tells what it is doing: a line when a step begins, and how long it took.

use std::env;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use anyhow::Result;

/// Does `work` as one announced step.
pub(crate) fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("{} {}", paint("1;33", "▸"), paint("1", what));
    let began = Instant::now();
    let made = work()?;
    eprintln!("  {}", paint("2", &format!("{what}: {}", took(began.elapsed()))));
    Ok(made)
}

/// Tells something that is no step.
pub(crate) fn note(text: &str) {
    eprintln!("  {text}");
}

/// Tells why a command failed: the causes beneath one another, from what was wanted to what went wrong.
pub(crate) fn failed(error: &anyhow::Error) {
    eprintln!("{} {error}", paint("1;31", "error:"));
    for cause in error.chain().skip(1) {
        eprintln!("  because {cause}");
    }
}

/// A duration as people say it.
pub(crate) fn took(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        ..1.0 => format!("{} ms", time.as_millis()),
        ..60.0 => format!("{seconds:.1} s"),
        _ => format!("{} min {} s", time.as_secs() / 60, time.as_secs() % 60),
    }
}

/// `text` in the terminal's colour `code`, where there is a terminal that shows it.
pub(crate) fn paint(code: &str, text: &str) -> String {
    if io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none() {
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}
