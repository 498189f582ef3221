//! The rate limit for a socket's messages.

use std::time::{Duration, Instant};

/// The result of a rate check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RateCheck {
    /// The message is within the rate.
    Within,
    /// The message is over the rate: it is answered with an error and otherwise ignored.
    Over,
    /// The client sends at more than twice the rate: its connection is closed.
    Flood,
}

/// Counts messages in windows of one second.
pub(super) struct Rate {
    per_second: u32,
    window: Instant,
    count: u32,
}

impl Rate {
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second, window: now, count: 0 }
    }

    /// Counts a message.
    pub(super) fn on_message(&mut self, now: Instant) -> RateCheck {
        if now.duration_since(self.window) >= Duration::from_secs(1) {
            self.window = now;
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        if self.count <= self.per_second {
            RateCheck::Within
        } else if self.count <= self.per_second.saturating_mul(2) {
            RateCheck::Over
        } else {
            RateCheck::Flood
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_within_then_over_then_a_flood_and_within_again_a_second_later() {
        let start = Instant::now();
        let mut rate = Rate::new(2, start);
        let checks: Vec<_> = (0..5).map(|_| rate.on_message(start)).collect();
        assert_eq!(checks, [RateCheck::Within, RateCheck::Within, RateCheck::Over, RateCheck::Over, RateCheck::Flood]);
        assert_eq!(rate.on_message(start + Duration::from_secs(1)), RateCheck::Within);
    }
}
