//! The polls of a session, and the frames of an answer until the answer is written.
//!
//! If an answer can't be written because its connection was closed, the next poll gets the same frames again. Meanwhile no
//! other frames are taken. So the frames stay in order, and at most the frames of one answer are kept.

use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::protocol::Frame;
use crate::timing::AwakeDeadline;
use crate::transport::stream::{Delivery, Receipt};

/// The most polls that wait for the session's task. Further requests wait until there is room.
const WAITING_MAX: usize = 8;

/// How long a poll waits until the answer to the poll before it is written. After that, the connection of the earlier poll
/// is given up.
const STALLED: Duration = Duration::from_secs(1);

/// The content of the answer to a poll.
#[derive(Default)]
pub(super) struct PollResponse {
    pub(super) frames: Vec<Frame>,
    /// None if there are no frames, because then nothing can be lost.
    pub(super) receipt: Option<Receipt>,
}

/// A poll that waits for its answer.
pub(super) type Poll = oneshot::Sender<PollResponse>;

/// The polls of a session. The session's task owns it.
pub(super) struct PollQueue {
    window: Duration,
    polls: mpsc::Receiver<Poll>,
    /// The poll that waits, and its deadline.
    poll: Option<(Poll, Instant)>,
    /// When the session ends if the client doesn't poll again.
    expiry: AwakeDeadline,
    /// The frames of the last answer, until it is written.
    unconfirmed: Vec<Frame>,
    /// The delivery of the last answer, until it is known whether the answer was written.
    delivery: Option<Delivery>,
}

/// Returns how long a client may take until its next poll. After one and a half windows it is gone.
fn timeout(window: Duration) -> Duration {
    window * 3 / 2
}

/// Returns the deadline for the next poll.
fn expiry(window: Duration) -> AwakeDeadline {
    AwakeDeadline::new(timeout(window))
}

/// Waits until the request of the waiting poll is dropped: hyper drops it if the client closes the connection.
async fn gone(poll: &mut Option<(Poll, Instant)>) {
    match poll {
        Some((answer, _)) => answer.closed().await,
        None => pending().await,
    }
}

/// Waits until it is known whether the last answer was written, and returns that.
async fn is_written(delivery: &mut Option<Delivery>) -> bool {
    match delivery {
        Some(delivery) => delivery.is_written().await,
        None => pending().await,
    }
}

impl PollQueue {
    /// Creates a queue, and the sender with which requests add their polls. A poll waits for at most `window`.
    pub(super) fn new(window: Duration) -> (mpsc::Sender<Poll>, Self) {
        let (sender, polls) = mpsc::channel(WAITING_MAX);
        let expiry = expiry(window);
        (sender, Self { window, polls, poll: None, expiry, unconfirmed: Vec::new(), delivery: None })
    }

    /// Returns how long a client may take until its next poll.
    pub(super) fn timeout(&self) -> Duration {
        timeout(self.window)
    }

    /// Whether a poll waits, and can be answered with new frames.
    pub(super) fn wants_frames(&self) -> bool {
        self.poll.is_some() && self.delivery.is_none()
    }

    /// Whether all answers with frames have been written.
    pub(super) fn is_confirmed(&self) -> bool {
        self.unconfirmed.is_empty()
    }

    /// Answers the waiting poll with these frames, or the next poll if none waits. All earlier answers must have been
    /// written.
    pub(super) fn answer(&mut self, frames: &mut VecDeque<Frame>) {
        self.unconfirmed = frames.drain(..).collect();
        self.answer_poll();
    }

    /// Answers the waiting poll, if there is one, without frames.
    pub(super) fn end_poll(&mut self) {
        if let Some((answer, _)) = self.poll.take() {
            self.expiry = expiry(self.window);
            let _ = answer.send(PollResponse::default());
        }
    }

    /// Waits for the next event, such as a new poll or the end of a delivery, and handles it. Returns whether the client is
    /// gone, because it doesn't poll any more. If the future is dropped before it is ready, nothing is lost.
    pub(super) async fn handle_next(&mut self) -> bool {
        let (deadline, stalled) = (self.deadline(), self.stalled());
        let has_poll = self.poll.is_some();
        let is_blocked = has_poll && self.delivery.is_some();
        tokio::select! {
            poll = self.polls.recv() => {
                let Some(poll) = poll else { return pending().await };
                self.end_poll();
                self.poll = Some((poll, Instant::now() + self.window));
                self.answer_poll();
            }
            () = gone(&mut self.poll) => self.end_poll(),
            is_written = is_written(&mut self.delivery) => {
                self.delivery = None;
                if is_written {
                    self.unconfirmed.clear();
                }
                self.answer_poll();
            }
            () = sleep_until(stalled), if is_blocked => self.answer_again(),
            () = sleep_until(deadline) => {
                if has_poll {
                    self.end_poll();
                } else {
                    return self.expiry.is_over();
                }
            }
        }
        false
    }

    /// Returns the deadline of the waiting poll. If no poll waits, returns when to check whether the client is gone.
    fn deadline(&self) -> Instant {
        match &self.poll {
            Some((_, until)) => *until,
            None => self.expiry.until(),
        }
    }

    /// Returns until when the waiting poll waits for the delivery of the answer before it.
    fn stalled(&self) -> Instant {
        match &self.poll {
            Some((_, until)) => *until - self.window + STALLED.min(self.window / 2),
            None => self.expiry.until(),
        }
    }

    /// Answers the waiting poll with the kept frames, unless an answer with them may still be delivered.
    fn answer_poll(&mut self) {
        if self.unconfirmed.is_empty() || self.delivery.is_some() {
            return;
        }
        if let Some((answer, _)) = self.poll.take() {
            self.expiry = expiry(self.window);
            let (receipt, delivery) = Receipt::new();
            self.delivery = Some(delivery);
            // The poll may be gone. Then the receipt is dropped with the response, and the next poll gets the same frames.
            let _ = answer.send(PollResponse { frames: self.unconfirmed.clone(), receipt: Some(receipt) });
        }
    }

    /// Answers the waiting poll although the last answer may still be in progress. The client polls again, so it has given
    /// up the earlier request. The earlier answer is revoked, so that the client doesn't get the same frames twice.
    fn answer_again(&mut self) {
        if let Some(delivery) = self.delivery.take() {
            delivery.revoke();
        }
        self.answer_poll();
    }
}
