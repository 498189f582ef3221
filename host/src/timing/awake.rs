//! A clock for a thread that sleeps by itself, without tokio's timers.

use std::time::{Duration, Instant};

use super::LATE;

/// A clock that stops while its thread can't run.
pub struct AwakeClock {
    looked: Instant,
    /// The sum of all gaps, which the clock leaves out.
    lost: Duration,
}

impl AwakeClock {
    /// Creates a clock that shows the real time until the first gap.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { looked: now, lost: Duration::ZERO }
    }

    /// Returns the clock's time. `now` is the real time, and `meant` is the longest time that the thread meant to sleep
    /// since the last call. The clock never goes back.
    pub fn look(&mut self, now: Instant, meant: Duration) -> Instant {
        let late = now.saturating_duration_since(self.looked).saturating_sub(meant);
        if late > LATE {
            self.lost += late;
        }
        self.looked = now;
        now.checked_sub(self.lost).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_not_counted_and_an_intended_sleep_is() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut clock = AwakeClock::new(start);
        assert_eq!(clock.look(start + second, second), start + second);
        // A delay of a busy thread is not a gap.
        assert_eq!(clock.look(start + second + LATE, Duration::ZERO), start + second + LATE);
        let shown = clock.look(start + 60 * second, second);
        assert_eq!(shown, start + 2 * second + LATE, "only the intended second has passed");
        assert_eq!(clock.look(start + 61 * second, second), shown + second, "the clock continues from there");
    }
}
