//! The progress of a command that takes long, on standard error: a bar at a terminal, and a line now and then elsewhere.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::server::write_error_line;

/// The time between two states of the bar.
const BAR_EVERY: Duration = Duration::from_millis(200);

/// The time between two lines. A command that takes less writes none.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The characters of the bar.
const BAR: usize = 20;

/// The unit of what is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, shown as `1.5 MB`.
    Bytes,
    /// Rows of the store.
    Rows,
}

/// The progress of a command, of one step after another. Any thread may report it.
pub struct Progress {
    is_terminal: bool,
    shown: Mutex<Shown>,
}

struct Shown {
    step: &'static str,
    began: Instant,
    at: Instant,
    /// Whether the bar is on the last line.
    has_bar: bool,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reached {
    done: u64,
    all: u64,
    unit: Unit,
    took: Duration,
}

impl Default for Progress {
    fn default() -> Self {
        let now = Instant::now();
        let shown = Shown { step: "", began: now, at: now, has_bar: false };
        Self { is_terminal: io::stderr().is_terminal(), shown: Mutex::new(shown) }
    }
}

impl Progress {
    /// Reports how much of a step is done, and about how much there is. Shows it, if the last time was some time ago.
    pub fn report(&self, step: &'static str, done: u64, all: u64, unit: Unit) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if shown.step != step {
            (shown.step, shown.began, shown.at) = (step, now, now);
        }
        let every = if self.is_terminal { BAR_EVERY } else { LINE_EVERY };
        if now.duration_since(shown.at) < every {
            return;
        }
        shown.at = now;
        let reached = Reached { done, all, unit, took: now.duration_since(shown.began) };
        if self.is_terminal {
            shown.has_bar = true;
            // Nothing can be said about standard error that can't be written.
            let _ = write!(io::stderr(), "\r\x1b[K{step:<9} [{}] {}", reached.bar(), reached.text());
            let _ = io::stderr().flush();
        } else {
            write_error_line(&format!("{step}: {}", reached.text()));
        }
    }

    /// Removes the bar, so that other lines can follow.
    pub fn clear(&self) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut shown.has_bar) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Reached {
    /// How much of a number is done. More than all counts as all, because the whole may be an estimate.
    fn part_of(&self, whole: u64) -> u64 {
        let part = u128::from(self.done.min(self.all)) * u128::from(whole) / u128::from(self.all.max(1));
        u64::try_from(part).unwrap_or(whole)
    }

    fn bar(&self) -> String {
        let filled = usize::try_from(self.part_of(BAR as u64)).unwrap_or(BAR);
        format!("{}{}", "#".repeat(filled), ".".repeat(BAR - filled))
    }

    fn text(&self) -> String {
        let (done, all) = (self.unit.amount(self.done), self.unit.amount(self.all.max(self.done)));
        let seconds = self.took.as_secs_f64().max(0.001);
        let speed = self.done as f64 / seconds;
        let left = self.all.saturating_sub(self.done) as f64 / speed.max(1e-9);
        let left = if self.done == 0 { String::new() } else { format!(", {} left", span(left)) };
        format!("{} %, {done} of {all}, {}/s{left}", self.part_of(100), self.unit.amount(speed as u64))
    }
}

impl Unit {
    fn amount(self, number: u64) -> String {
        match self {
            Self::Bytes => bytes(number),
            Self::Rows => format!("{number} rows"),
        }
    }
}

/// Formats a number of bytes for people.
#[must_use]
pub fn bytes(number: u64) -> String {
    let mut size = number as f64;
    for unit in ["bytes", "kB", "MB", "GB", "TB"] {
        if size < 999.5 || unit == "TB" {
            let digits = usize::from(unit != "bytes" && size < 99.95);
            return format!("{size:.digits$} {unit}");
        }
        size /= 1000.0;
    }
    String::new()
}

/// Formats a number of seconds for people.
fn span(seconds: f64) -> String {
    let seconds = seconds.min(359_999.0) as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(done: u64, all: u64, seconds: u64) -> Reached {
        Reached { done, all, unit: Unit::Bytes, took: Duration::from_secs(seconds) }
    }

    #[test]
    fn a_bar_shows_the_part_the_speed_and_the_rest() {
        let half = reached(500_000_000, 1_000_000_000, 10);
        assert_eq!(half.bar(), "##########..........");
        assert_eq!(half.text(), "50 %, 500 MB of 1.0 GB, 50.0 MB/s, 10 s left");
        assert_eq!(reached(0, 0, 0).text(), "0 %, 0 bytes of 0 bytes, 0 bytes/s");
    }

    #[test]
    fn an_estimate_that_was_too_low_is_no_more_than_all() {
        let more = reached(300, 100, 1);
        assert_eq!((more.bar().as_str(), more.part_of(100)), ("####################", 100));
        assert_eq!(more.text(), "100 %, 300 bytes of 300 bytes, 300 bytes/s, 0 s left");
    }

    #[test]
    fn sizes_and_times_have_units() {
        let sizes = [0, 999, 1000, 99_949, 99_960, 1_500_000, u64::MAX].map(bytes);
        assert_eq!(sizes, ["0 bytes", "999 bytes", "1.0 kB", "99.9 kB", "100 kB", "1.5 MB", "18446744 TB"]);
        assert_eq!([59.9, 60.0, 3725.0, f64::INFINITY].map(span), ["59 s", "1 min 0 s", "1 h 2 min", "99 h 59 min"]);
    }
}
