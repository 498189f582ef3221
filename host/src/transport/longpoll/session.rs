//! A session: a socket that exists between polls, owned by one task.
//!
//! The frames of an answer are kept until the answer is written. If it can't be written because its connection was closed,
//! the next poll gets the same frames again. Meanwhile nothing is taken from the outbox. So the frames stay in order, and at
//! most the frames of one answer are kept.

use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::contract::Ending;
use crate::protocol::{CloseCode, Frame, Incoming};
use crate::pubsub::Taken;
use crate::socket::Socket;
use crate::timing::{AwakeDeadline, within};
use crate::transport::stream::{Delivery, Receipt};

/// The most polls in the queue of a session's task, and the most batches. Further requests wait until there is room.
const WAITING_MAX: usize = 8;

/// How long a poll waits until the answer to the poll before it is written. After that, the connection of the earlier poll
/// is given up.
const STALLED: Duration = Duration::from_secs(1);

/// The handle of a session, for the requests of its client.
#[derive(Clone)]
pub(super) struct Session {
    polls: mpsc::Sender<Poll>,
    batches: mpsc::Sender<Batch>,
    /// Locked by a POST while it reads its body and hands over the messages, so that POSTs are handled one after another.
    turn: Arc<Mutex<()>>,
    window: Duration,
}

/// Why messages weren't received.
pub(super) enum Unposted {
    /// The session has ended.
    Gone,
    /// The session ended before it received all messages, or it had no room for them in time.
    NotTaken,
}

/// The content of the answer to a poll.
#[derive(Default)]
pub(super) struct PollResponse {
    pub(super) frames: Vec<Frame>,
    /// None if there are no frames, because then nothing can be lost.
    pub(super) receipt: Option<Receipt>,
}

/// A poll that waits for its answer.
type Poll = oneshot::Sender<PollResponse>;

/// Posted messages, and the POST that waits until they are received.
type Batch = (VecDeque<Incoming>, oneshot::Sender<()>);

/// The work of a session, which runs in a task of its own.
pub(super) struct Work {
    socket: Socket,
    window: Duration,
    polls: mpsc::Receiver<Poll>,
    batches: mpsc::Receiver<Batch>,
    /// The poll that waits, and its deadline.
    poll: Option<(Poll, Instant)>,
    /// When the session ends if the client doesn't poll again.
    expiry: AwakeDeadline,
    /// The frames of the last answer, until it is written.
    unconfirmed: Vec<Frame>,
    /// The delivery of the last answer, until it is known whether the answer was written.
    delivery: Option<Delivery>,
    /// The messages that aren't received yet. Polls are served meanwhile, so that a full mailbox doesn't delay the client's
    /// frames.
    posted: Option<Batch>,
}

impl Session {
    pub(super) fn new(socket: Socket, window: Duration) -> (Self, Work) {
        let ((poll, polls), (batch, batches)) = (mpsc::channel(WAITING_MAX), mpsc::channel(WAITING_MAX));
        let work = Work {
            socket,
            window,
            polls,
            batches,
            poll: None,
            expiry: expiry(window),
            unconfirmed: Vec::new(),
            delivery: None,
            posted: None,
        };
        (Self { polls: poll, batches: batch, turn: Arc::default(), window }, work)
    }

    /// Waits until no other POST is handled for this session. Further POSTs wait until the guard is dropped.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Waits for frames, for at most the poll window. The response has no frames if there are none in that time. Returns
    /// none if the session has ended. If the future is dropped while it waits, no frame is lost.
    pub(super) async fn poll(&self) -> Option<PollResponse> {
        let (answer, answered) = oneshot::channel();
        self.polls.send(answer).await.ok()?;
        // If the session ends meanwhile, the response is empty, and the next poll finds no session.
        Some(answered.await.unwrap_or_default())
    }

    /// Hands messages over, and waits until the socket has received all of them, for at most the poll window.
    ///
    /// # Errors
    /// If the session has ended, or the socket didn't receive all messages in time.
    pub(super) async fn post(&self, messages: Vec<Incoming>) -> Result<(), Unposted> {
        let (done, taken) = oneshot::channel();
        let posting = async {
            self.batches.send((messages.into(), done)).await.map_err(|_| Unposted::Gone)?;
            taken.await.map_err(|_| Unposted::NotTaken)
        };
        within(self.window, posting).await.unwrap_or(Err(Unposted::NotTaken))
    }
}

/// Returns the deadline for the next poll: a client that doesn't poll for one and a half windows is gone.
fn expiry(window: Duration) -> AwakeDeadline {
    AwakeDeadline::new(window * 3 / 2)
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

/// Why a session ends.
enum End {
    /// The client doesn't poll any more.
    Closed,
    /// The host closes it with this code.
    Close(CloseCode),
}

impl Work {
    /// Serves the session until it ends. Returns the code with which the host closed it, if it did.
    pub(super) async fn run(mut self) -> Option<CloseCode> {
        let code = match self.serve().await {
            End::Close(code) => Some(code),
            End::Closed => None,
        };
        let ending = if code == Some(CloseCode::ServiceRestart) { Ending::Shutdown } else { Ending::Closed };
        drop(self.socket.close(ending));
        code
    }

    async fn serve(&mut self) -> End {
        let outbox = Arc::clone(self.socket.outbox());
        let mut frames = VecDeque::new();
        loop {
            let (deadline, stalled) = (self.deadline(), self.stalled());
            let (has_poll, has_post) = (self.poll.is_some(), self.posted.is_some());
            let takes = has_poll && self.delivery.is_none();
            tokio::select! {
                // While no poll waits, frames stay in the outbox, which is bounded.
                taken = poll_fn(|context| outbox.poll_take(context, &mut frames)), if takes => {
                    if !frames.is_empty() {
                        self.unconfirmed = frames.drain(..).collect();
                        self.answer_poll();
                    }
                    if let Taken::Close(code) = taken {
                        return End::Close(code);
                    }
                    self.socket.resume();
                }
                // Without taking frames: the outbox may close, or a message that was held back may be tried again.
                taken = poll_fn(|context| outbox.poll_apart(context)), if !takes => {
                    if let Taken::Close(code) = taken {
                        return End::Close(code);
                    }
                    self.socket.resume();
                }
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
                batch = self.batches.recv(), if !has_post => {
                    let Some(batch) = batch else { return pending().await };
                    self.posted = Some(batch);
                }
                () = sleep_until(stalled), if has_poll && !takes => self.answer_again(),
                () = sleep_until(deadline) => {
                    if has_poll {
                        self.end_poll();
                    } else if self.expiry.is_over() {
                        return End::Closed;
                    }
                }
            }
            if let Err(end) = self.receive() {
                return end;
            }
        }
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

    /// Answers the waiting poll, if there is one, without frames.
    fn end_poll(&mut self) {
        if let Some((answer, _)) = self.poll.take() {
            self.expiry = expiry(self.window);
            let _ = answer.send(PollResponse::default());
        }
    }

    /// Passes posted messages to the socket, one after another, until the socket has no room for the next one.
    ///
    /// # Errors
    /// The end of the session, if the socket closes because of a message.
    fn receive(&mut self) -> Result<(), End> {
        while !self.socket.is_held_back()
            && let Some((messages, _)) = &mut self.posted
        {
            match messages.pop_front() {
                Some(message) => self.socket.receive(&message).map_err(|closing| End::Close(closing.0))?,
                None => {
                    if let Some((_, done)) = self.posted.take() {
                        let _ = done.send(());
                    }
                }
            }
        }
        Ok(())
    }
}
