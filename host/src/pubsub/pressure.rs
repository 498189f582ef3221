//! Whether outboxes fill faster than they are emptied.
//!
//! Who fills them looks here between two turns, and waits until those who write have caught up: a client that reads too slowly
//! costs it its connection, but a server that is busy must not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// For how long those who fill outboxes are held back at most, before they go on a little: with many who write, one may be
/// behind at any time, and nobody may starve for that.
pub const HELD_BACK_MAX: Duration = Duration::from_millis(100);

/// How many of those who empty outboxes are behind.
#[derive(Default)]
pub struct Pressure {
    behind: AtomicUsize,
    eased: Notify,
}

impl Pressure {
    /// One is behind, until it [says otherwise](Self::lower).
    pub fn raise(&self) {
        self.behind.fetch_add(1, Ordering::AcqRel);
    }

    /// One that was behind has caught up.
    pub fn lower(&self) {
        if self.behind.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.eased.notify_waiters();
        }
    }

    /// Whether somebody is behind.
    #[must_use]
    pub fn is_high(&self) -> bool {
        self.behind.load(Ordering::Acquire) > 0
    }

    /// Waits until nobody is behind, or for as long as the caller may be held back.
    pub async fn hold_back(&self) {
        if self.is_high() {
            // Both ends of the wait are well.
            let _ = timeout(HELD_BACK_MAX, self.eased()).await;
        }
    }

    /// Waits until nobody is behind, however long that takes.
    pub async fn eased(&self) {
        while self.is_high() {
            let eased = self.eased.notified();
            // It may have come before there was somebody to be notified.
            if self.is_high() {
                eased.await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn it_is_eased_once_all_have_caught_up() {
        let pressure = Pressure::default();
        let mut context = Context::from_waker(Waker::noop());
        assert!(pin!(pressure.eased()).poll(&mut context).is_ready());
        pressure.raise();
        pressure.raise();
        let mut eased = pin!(pressure.eased());
        assert!(eased.as_mut().poll(&mut context).is_pending());
        pressure.lower();
        assert!(eased.as_mut().poll(&mut context).is_pending());
        pressure.lower();
        assert!(eased.as_mut().poll(&mut context).is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_held_back_for_longer_than_may_be() {
        let (pressure, begun) = (Pressure::default(), tokio::time::Instant::now());
        pressure.hold_back().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        pressure.raise();
        pressure.hold_back().await;
        assert_eq!(begun.elapsed(), HELD_BACK_MAX);
    }
}
