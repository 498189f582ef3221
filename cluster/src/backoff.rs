//! The pauses between attempts to connect.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The first pause.
const FIRST: Duration = Duration::from_millis(50);

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(2);

/// When the next attempt may be made. Each failure doubles the pause.
pub(crate) struct Backoff {
    pause: Duration,
    next: Option<Instant>,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { pause: FIRST, next: None }
    }

    /// Waits until an attempt may be made. The first one may be made at once.
    pub(crate) async fn wait(&self) {
        if let Some(next) = self.next {
            sleep_until(next).await;
        }
    }

    /// An attempt failed.
    pub(crate) fn failed(&mut self, now: Instant) {
        self.next = Some(now + self.pause);
        self.pause = (self.pause * 2).min(LONGEST);
    }

    /// An attempt succeeded.
    pub(crate) fn succeeded(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_the_longest_and_begin_anew() {
        let mut backoff = Backoff::new();
        let mut pauses = Vec::new();
        for round in 0..9 {
            let before = Instant::now();
            backoff.wait().await;
            pauses.push(before.elapsed().as_millis());
            if round == 7 {
                backoff.succeeded();
            } else {
                backoff.failed(Instant::now());
            }
        }
        assert_eq!(pauses, [0, 50, 100, 200, 400, 800, 1_600, 2_000, 0]);
    }
}
