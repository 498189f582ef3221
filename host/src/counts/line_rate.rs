//! Limits of the lines of one kind that are logged in a second, so that clients or a plugin can't fill the disk.
//!
//! Lines that are left out are counted, and one line reports their number when the second is over.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The length of a window.
const WINDOW: Duration = Duration::from_secs(1);

/// A limit of lines for each key, such as a plugin. There must be few keys, because their windows stay.
#[derive(Debug)]
pub struct LineRate {
    /// The most lines of one key in a window.
    most: u32,
    /// The fields of a window change together, so they are behind a lock. It is held only to count a line.
    windows: Mutex<BTreeMap<Box<str>, Window>>,
    left_out: AtomicU64,
}

/// The lines that were logged and left out in the current window.
#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    lines: u32,
    left_out: u64,
}

/// Whether a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Write,
    /// The line is the first one of its window that is left out.
    LeaveFirst,
    Leave,
}

impl LineRate {
    /// A limit of `most` lines in a second for each key.
    #[must_use]
    pub const fn new(most: u32) -> Self {
        Self { most, windows: Mutex::new(BTreeMap::new()), left_out: AtomicU64::new(0) }
    }

    /// Calls `write` if the line is within the limit. Otherwise counts it, and calls `report` with the number of omitted lines
    /// once the second is over. Returns whether the line was written.
    pub fn limit(&'static self, key: &str, write: impl FnOnce(), report: impl FnOnce(u64) + Send + 'static) -> bool {
        match self.decide(key, Instant::now()) {
            Decision::Write => {
                write();
                return true;
            }
            Decision::LeaveFirst => {
                let key: Box<str> = key.into();
                let later = async move {
                    tokio::time::sleep(WINDOW).await;
                    let left_out = self.end(&key);
                    if left_out > 0 {
                        report(left_out);
                    }
                };
                // Without a runtime nothing can wait for the end of the window. The count includes these lines anyway.
                if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                    runtime.spawn(later);
                }
            }
            Decision::Leave => {}
        }
        false
    }

    /// Returns how many lines were left out since the start.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    fn decide(&self, key: &str, now: Instant) -> Decision {
        let mut windows = self.lock();
        let window = match windows.get_mut(key) {
            Some(window) => window,
            None => windows.entry(key.into()).or_default(),
        };
        let decision = window.line(now, self.most);
        if decision != Decision::Write {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        decision
    }

    /// Ends a key's window. Returns the number of lines that were left out.
    fn end(&self, key: &str) -> u64 {
        self.lock().get_mut(key).map_or(0, |window| std::mem::take(window).left_out)
    }

    /// No panic can leave the data half changed, so a poisoned lock is used like any other.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Box<str>, Window>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    /// Counts a line, and decides whether it is written. Until omitted lines are reported, no further line is written: so the
    /// log keeps the order.
    fn line(&mut self, now: Instant, most: u32) -> Decision {
        if self.left_out == 0 && self.began.is_none_or(|began| now.duration_since(began) >= WINDOW) {
            *self = Self { began: Some(now), lines: 0, left_out: 0 };
        }
        if self.lines < most {
            self.lines += 1;
            return Decision::Write;
        }
        self.left_out += 1;
        if self.left_out == 1 { Decision::LeaveFirst } else { Decision::Leave }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_second_are_bounded_for_each_key_and_further_ones_are_counted() {
        let (rate, start) = (LineRate::new(5), Instant::now());
        assert!((0..5).all(|_| rate.decide("a", start) == Decision::Write));
        assert_eq!((rate.decide("a", start), rate.decide("a", start)), (Decision::LeaveFirst, Decision::Leave));
        assert_eq!(rate.decide("b", start), Decision::Write);
        // Until these are reported, no line is written.
        assert_eq!(rate.decide("a", start + 2 * WINDOW), Decision::Leave);
        assert_eq!((rate.end("a"), rate.left_out()), (3, 3));
        assert_eq!((rate.decide("a", start + 2 * WINDOW), rate.end("a"), rate.end("c")), (Decision::Write, 0, 0));
    }

    #[test]
    fn a_second_later_there_is_room_again() {
        let (rate, start) = (LineRate::new(5), Instant::now());
        assert!((0..5).all(|_| rate.decide("a", start) == Decision::Write));
        assert!((0..5).all(|_| rate.decide("a", start + WINDOW) == Decision::Write));
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_omitted_lines_is_reported_once() {
        static RATE: LineRate = LineRate::new(1);
        let (send, mut reported) = tokio::sync::mpsc::unbounded_channel();
        let mut written = 0;
        for _ in 0..10 {
            let send = send.clone();
            let report = move |left_out| send.send(left_out).expect("the receiver waits");
            RATE.limit("a", || written += 1, report);
        }
        drop(send);
        assert_eq!((written, reported.recv().await, reported.recv().await), (1, Some(9), None));
    }
}
