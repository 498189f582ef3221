//! Deadlines for tasks.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::LATE;

/// The number of pieces into which a wait is divided. A piece that ends too late shows a gap, and only that piece is
/// repeated.
const PIECES: u32 = 6;

/// The longest last piece. Messages that are unread when the other pieces have ended are read and handled within it.
const LOOK: Duration = Duration::from_millis(100);

/// The most repeated pieces. So the wait ends even if the host has too little CPU time and is late at every piece.
const REPEATS_MAX: u32 = 32;

/// A deadline that counts only the time in which the host ran.
#[derive(Debug)]
pub struct AwakeDeadline {
    piece: Duration,
    look: Duration,
    /// The number of pieces left, without the last one.
    left: u32,
    is_looking: bool,
    repeated: u32,
    until: Instant,
}

impl AwakeDeadline {
    /// Creates a deadline `time` from now.
    #[must_use]
    pub fn new(time: Duration) -> Self {
        let look = (time / 8).min(LOOK);
        let piece = (time - look) / PIECES;
        Self { piece, look, left: PIECES, is_looking: false, repeated: 0, until: Instant::now() + piece }
    }

    /// Returns the time at which to call [`is_over`](Self::is_over) next.
    #[must_use]
    pub fn until(&self) -> Instant {
        self.until
    }

    /// Whether the time has passed. Call this when [`until`](Self::until) has come.
    pub fn is_over(&mut self) -> bool {
        let now = Instant::now();
        if now < self.until {
            return false;
        }
        let is_late = now - self.until > LATE && self.repeated < REPEATS_MAX;
        if is_late {
            self.repeated += 1;
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

pin_project! {
    /// The future of [`sleep`]. It has a name, so that it needs no box where a type must be named.
    #[derive(Debug)]
    pub struct AwakeSleep {
        deadline: AwakeDeadline,
        #[pin]
        piece: Sleep,
    }
}

/// Waits for `time`.
#[must_use]
pub fn sleep(time: Duration) -> AwakeSleep {
    let deadline = AwakeDeadline::new(time);
    AwakeSleep { piece: sleep_until(deadline.until()), deadline }
}

impl Future for AwakeSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            ready!(this.piece.as_mut().poll(context));
            if this.deadline.is_over() {
                return Poll::Ready(());
            }
            this.piece.as_mut().reset(this.deadline.until());
        }
    }
}

/// Returns the result of `work`, or `None` if `work` takes longer than `time`.
pub async fn within<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        // A result counts even if the time is over too.
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
    async fn without_a_gap_the_wait_has_the_exact_length() {
        let start = Instant::now();
        sleep(MINUTE).await;
        let waited = start.elapsed();
        assert!(waited >= MINUTE - LOOK && waited <= MINUTE + LOOK, "{waited:?}");
        assert_eq!(within(MINUTE, std::future::pending::<()>()).await, None);
        assert_eq!(within(MINUTE, async { 1 }).await, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_gap_moves_the_deadline() {
        let mut deadline = AwakeDeadline::new(MINUTE);
        // An hour passes at once, as for a process that was stopped.
        advance(60 * MINUTE).await;
        assert!(!deadline.is_over());
        let went_on = Instant::now();
        while !deadline.is_over() {
            sleep_until(deadline.until()).await;
        }
        assert!(went_on.elapsed() >= MINUTE - LOOK, "the whole time must pass again: {:?}", went_on.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_arrived_during_a_gap_is_handled_before_the_time_is_over() {
        let (send, receive) = tokio::sync::oneshot::channel();
        let waiting = tokio::spawn(within(MINUTE, receive));
        tokio::task::yield_now().await;
        advance(60 * MINUTE).await;
        tokio::task::yield_now().await;
        send.send(7).expect("it still waits");
        assert_eq!(waiting.await.expect("no panic"), Some(Ok(7)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_on_a_host_that_is_always_late() {
        let mut deadline = AwakeDeadline::new(Duration::from_secs(1));
        let mut asked = 0;
        while !deadline.is_over() {
            advance(Duration::from_secs(2)).await;
            asked += 1;
        }
        assert!(asked <= REPEATS_MAX + PIECES + 2, "{asked}");
    }
}
