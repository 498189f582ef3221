//! Whether outboxes fill faster than they are emptied.
//!
//! Who fills them looks here between two turns, and waits until those who write have caught up: a client that reads too slowly
//! costs it its connection, but a server that is busy must not.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

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

    /// Waits until nobody is behind.
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
}
