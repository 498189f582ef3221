//! The self-test's question to a reactor: an outbox with one frame. The reactor must take the frame as it takes those of its
//! connections: woken by the outbox, and in the half of its turn in which it writes.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::protocol::Frame;
use crate::pubsub::{Outbox, OutboxLimits, OutboxWaker};

/// The number by which a reactor knows the outboxes of all probes. No connection has it.
pub(super) const PROBE: usize = usize::MAX - 1;

/// A probe that waits for its reactor.
pub(super) struct Probe {
    outbox: Outbox,
    answer: oneshot::Sender<()>,
}

impl Probe {
    /// Creates a probe, and what tells its answer. That is an error if the probe is dropped.
    pub(super) fn new() -> (Self, oneshot::Receiver<()>) {
        let (answer, answered) = oneshot::channel();
        let outbox = Outbox::new(OutboxLimits::default());
        outbox.push(Frame::text("probe"));
        (Self { outbox, answer }, answered)
    }

    /// Begins to wake the reactor.
    pub(super) fn admit(&self, waker: &Arc<dyn OutboxWaker>) {
        self.outbox.set_waker(waker, PROBE);
    }

    /// Takes the frame, and answers.
    pub(super) fn take(self) {
        if self.outbox.discard() {
            // Whoever asked may have stopped waiting.
            let _ = self.answer.send(());
        }
    }
}
