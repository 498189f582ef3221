//! Whether outboxes fill faster than they are written.
//!
//! A producer of frames checks this between two turns, and waits until the reactors have caught up. Only a client that
//! reads too slowly may lose its connection, never one whose server is busy.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::counts::{Limit, Moment, Rare};

/// The longest time that a producer of frames waits because of pressure. Then it continues a little: with many
/// reactors, one may be behind at any time, and no client may starve because of that.
pub const HELD_BACK_MAX: Duration = Duration::from_millis(100);

/// The number of reactors that are behind with their writes.
///
/// The counter uses acquire and release: a producer that sees 0 also sees the outboxes as the reactors left them.
#[derive(Default)]
pub struct Pressure {
    behind: AtomicUsize,
    /// When it became high, for the count of the time in which it was. It is read only by the last reactor that catches up.
    since: AtomicU64,
    eased: Notify,
}

impl Pressure {
    /// Counts one reactor as behind, until it calls [`lower`](Self::lower).
    pub fn raise(&self) {
        if self.behind.fetch_add(1, Ordering::AcqRel) == 0 {
            Limit::Backpressure.hit();
            self.since.store(Moment::now().nanoseconds(), Ordering::Relaxed);
        }
    }

    /// A reactor that was behind has caught up. The last one wakes all waiting producers.
    pub fn lower(&self) {
        // Read before the count: after it, another thread may raise the pressure again.
        let since = self.since.load(Ordering::Relaxed);
        if self.behind.fetch_sub(1, Ordering::AcqRel) == 1 {
            Rare::PressureNanoseconds.add(Moment::now().nanoseconds().saturating_sub(since));
            self.eased.notify_waiters();
        }
    }

    /// Whether a reactor is behind.
    #[must_use]
    pub fn is_high(&self) -> bool {
        self.behind.load(Ordering::Acquire) > 0
    }

    /// Waits until no reactor is behind, or for at most [`HELD_BACK_MAX`].
    pub async fn hold_back(&self) {
        if self.is_high() {
            // After a timeout the caller continues too.
            let _ = timeout(HELD_BACK_MAX, self.eased()).await;
        }
    }

    /// Waits until no reactor is behind, without a time limit.
    pub async fn eased(&self) {
        while self.is_high() {
            let eased = self.eased.notified();
            // `notify_waiters` wakes only futures that exist already. So check again, after this future was created.
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
    fn a_wait_ends_once_all_reactors_have_caught_up() {
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
    async fn a_producer_waits_no_longer_than_the_maximum() {
        let (pressure, begun) = (Pressure::default(), tokio::time::Instant::now());
        pressure.hold_back().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        pressure.raise();
        pressure.hold_back().await;
        assert_eq!(begun.elapsed(), HELD_BACK_MAX);
    }
}
