//! How many messages a second a socket may send.

use std::time::{Duration, Instant};

/// What a message over the rate leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RateCheck {
    /// It is within the rate.
    Within,
    /// It is answered with an error, and nothing else becomes of it.
    Over,
    /// The client goes on at twice the rate: its connection is closed.
    Flood,
}

/// Counts messages in windows of a second.
pub(super) struct Rate {
    per_second: Option<u32>,
    window: Instant,
    count: u32,
}

impl Rate {
    pub(super) fn new(per_second: Option<u32>, now: Instant) -> Self {
        Self { per_second, window: now, count: 0 }
    }

    /// A message has come. The clock is asked only where there is a limit.
    pub(super) fn on_message(&mut self, now: impl FnOnce() -> Instant) -> RateCheck {
        let Some(most) = self.per_second else { return RateCheck::Within };
        let now = now();
        if now.duration_since(self.window) >= Duration::from_secs(1) {
            self.window = now;
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        if self.count <= most {
            RateCheck::Within
        } else if self.count <= most.saturating_mul(2) {
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
    fn within_then_over_then_flood_and_a_second_later_within() {
        let start = Instant::now();
        let mut rate = Rate::new(Some(2), start);
        let verdicts: Vec<_> = (0..5).map(|_| rate.on_message(|| start)).collect();
        assert_eq!(
            verdicts,
            [RateCheck::Within, RateCheck::Within, RateCheck::Over, RateCheck::Over, RateCheck::Flood]
        );
        assert_eq!(rate.on_message(|| start + Duration::from_secs(1)), RateCheck::Within);
        assert_eq!(Rate::new(None, start).on_message(|| start), RateCheck::Within);
    }
}
