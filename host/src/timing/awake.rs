//! A clock for a thread that sleeps by itself.

use std::time::{Duration, Instant};

use super::LATE;

/// A clock that stands still while its thread does.
pub struct AwakeClock {
    looked: Instant,
    /// All the time that wasn't counted.
    lost: Duration,
}

impl AwakeClock {
    /// A clock that shows the real time until the first gap.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { looked: now, lost: Duration::ZERO }
    }

    /// What it shows, given the real time and how long the thread meant to sleep at most since it last looked. It never goes back.
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
    fn a_gap_is_not_counted_and_a_sleep_that_was_meant_is() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut clock = AwakeClock::new(start);
        assert_eq!(clock.look(start + second, second), start + second);
        // A turn that takes a while is no gap.
        assert_eq!(clock.look(start + second + LATE, Duration::ZERO), start + second + LATE);
        let shown = clock.look(start + 60 * second, second);
        assert_eq!(shown, start + 2 * second + LATE, "only the second that was meant has passed");
        assert_eq!(clock.look(start + 61 * second, second), shown + second, "from there it goes on");
    }
}
