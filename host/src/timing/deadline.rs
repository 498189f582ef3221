//! Deadlines for tasks.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::LATE;

/// The pieces that a time is waited for in: a gap is seen by the piece that ends too late, and only that piece is waited for anew.
const PIECES: u32 = 6;

/// The last piece at most. Whatever lay unread when the others were over is read and handled within it.
const LOOK: Duration = Duration::from_millis(100);

/// Pieces that may be waited for anew, so that a host that is late at each of them for want of processors still comes to an end.
const ANEW_MAX: u32 = 32;

/// A deadline, of which only the time counts in which the host ran.
#[derive(Debug)]
pub struct AwakeDeadline {
    piece: Duration,
    look: Duration,
    /// Pieces that are still to be waited for, without the look.
    left: u32,
    is_looking: bool,
    anew: u32,
    until: Instant,
}

impl AwakeDeadline {
    /// A deadline that is so far away.
    #[must_use]
    pub fn new(time: Duration) -> Self {
        let look = (time / 8).min(LOOK);
        let piece = (time - look) / PIECES;
        Self { piece, look, left: PIECES, is_looking: false, anew: 0, until: Instant::now() + piece }
    }

    /// When to ask next whether it [is over](Self::is_over).
    #[must_use]
    pub fn until(&self) -> Instant {
        self.until
    }

    /// Whether the time has passed. It is asked once [`until`](Self::until) has come.
    pub fn is_over(&mut self) -> bool {
        let now = Instant::now();
        if now < self.until {
            return false;
        }
        let is_late = now - self.until > LATE && self.anew < ANEW_MAX;
        if is_late {
            self.anew += 1;
        } else if self.is_looking {
            return true;
        } else {
            self.left -= 1;
        }
        self.is_looking = self.left == 0;
        self.until = now + if self.is_looking { self.look } else { self.piece };
        false
    }
}

/// Waits for so long.
pub async fn sleep(time: Duration) {
    let mut patience = AwakeDeadline::new(time);
    loop {
        sleep_until(patience.until()).await;
        if patience.is_over() {
            return;
        }
    }
}

/// What `work` gives, unless that takes longer than `time`.
pub async fn within<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        // What is done is done, even if the time is over too.
        biased;
        done = work => Some(done),
        () = sleep(time) => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_time_in_which_the_host_runs_is_waited_for_exactly() {
        let start = Instant::now();
        sleep(MINUTE).await;
        let waited = start.elapsed();
        assert!(waited >= MINUTE - LOOK && waited <= MINUTE + LOOK, "{waited:?}");
        assert_eq!(within(MINUTE, std::future::pending::<()>()).await, None);
        assert_eq!(within(MINUTE, async { 1 }).await, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_gap_moves_the_deadline() {
        let mut patience = AwakeDeadline::new(MINUTE);
        // An hour passes at once, as it does for a process that was stopped.
        advance(60 * MINUTE).await;
        assert!(!patience.is_over());
        let went_on = Instant::now();
        while !patience.is_over() {
            sleep_until(patience.until()).await;
        }
        assert!(went_on.elapsed() >= MINUTE - LOOK, "all of it was waited for: {:?}", went_on.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_come_during_a_gap_is_handled_before_the_time_is_over() {
        let (send, receive) = tokio::sync::oneshot::channel();
        let waiting = tokio::spawn(within(MINUTE, receive));
        tokio::task::yield_now().await;
        advance(60 * MINUTE).await;
        tokio::task::yield_now().await;
        send.send(7).expect("it waits still");
        assert_eq!(waiting.await.expect("no panic"), Some(Ok(7)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_is_always_late_comes_to_an_end() {
        let mut patience = AwakeDeadline::new(Duration::from_secs(1));
        let mut asked = 0;
        while !patience.is_over() {
            advance(Duration::from_secs(2)).await;
            asked += 1;
        }
        assert!(asked <= ANEW_MAX + PIECES + 2, "{asked}");
    }
}
