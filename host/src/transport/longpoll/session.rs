//! A session: a socket between two polls, owned by one task.
//!
//! What an answer holds is kept until that answer is written. Where it can't be, since its connection has been closed, the next poll
//! gets the same again. Nothing is taken from the outbox meanwhile, so that the order holds, and what is kept is one answer's.

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

/// Polls that may wait for a session's task, and batches; past it who asks waits too.
const WAITING_MAX: usize = 8;

/// For how long a poll waits for the answer of the one before it to be written, before that one's connection is given up.
const STALLED: Duration = Duration::from_secs(1);

/// A session, for those who bring requests to it.
#[derive(Clone)]
pub(super) struct Session {
    polls: mpsc::Sender<Poll>,
    batches: mpsc::Sender<Batch>,
    /// Held by who brings messages.
    turn: Arc<Mutex<()>>,
    window: Duration,
}

/// Why messages weren't taken.
pub(super) enum Unposted {
    /// The session is no more.
    Gone,
    /// They were no messages, or it had no room for them in time.
    NotTaken,
}

/// What is said in one answer.
#[derive(Default)]
pub(super) struct PollResponse {
    pub(super) frames: Vec<Frame>,
    /// There is none where there is nothing to lose.
    pub(super) receipt: Option<Receipt>,
}

/// Who waits for what there is to say.
type Poll = oneshot::Sender<PollResponse>;

/// What was posted, and who waits until it is received.
type Batch = (VecDeque<Incoming>, oneshot::Sender<()>);

/// The work of a session, to be run in a task of its own.
pub(super) struct Work {
    socket: Socket,
    window: Duration,
    polls: mpsc::Receiver<Poll>,
    batches: mpsc::Receiver<Batch>,
    /// The poll that waits, and until when.
    poll: Option<(Poll, Instant)>,
    /// How much longer the client may poll no more, before it is taken to be gone.
    patience: AwakeDeadline,
    /// What the last answer held, until it is written.
    said: Vec<Frame>,
    /// What tells of that, for as long as it isn't known.
    delivery: Option<Delivery>,
    /// What isn't received yet. Polls are served meanwhile: a full mailbox keeps nobody from hearing.
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
            patience: patience(window),
            said: Vec::new(),
            delivery: None,
            posted: None,
        };
        (Self { polls: poll, batches: batch, turn: Arc::default(), window }, work)
    }

    /// Waits until nobody else brings messages, and keeps others from it until what is given is dropped.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Waits for what there is to say, and gives nothing where that is nothing. None if the session is no more.
    /// Dropped while it waits, it takes nothing.
    pub(super) async fn poll(&self) -> Option<PollResponse> {
        let (answer, answered) = oneshot::channel();
        self.polls.send(answer).await.ok()?;
        // A session that ends meanwhile has nothing more to say; the next poll finds it gone.
        Some(answered.await.unwrap_or_default())
    }

    /// Hands messages over, and waits until the last of them was received.
    pub(super) async fn post(&self, messages: Vec<Incoming>) -> Result<(), Unposted> {
        let (done, taken) = oneshot::channel();
        let posting = async {
            self.batches.send((messages.into(), done)).await.map_err(|_| Unposted::Gone)?;
            taken.await.map_err(|_| Unposted::NotTaken)
        };
        within(self.window, posting).await.unwrap_or(Err(Unposted::NotTaken))
    }
}

/// A client that doesn't poll for one and a half windows is gone.
fn patience(window: Duration) -> AwakeDeadline {
    AwakeDeadline::new(window * 3 / 2)
}

/// Waits until who polls has gone. Its connection was closed, and hyper has let go of its request.
async fn gone(poll: &mut Option<(Poll, Instant)>) {
    match poll {
        Some((answer, _)) => answer.closed().await,
        None => pending().await,
    }
}

/// Waits until it is known whether an answer was written.
async fn is_written(delivery: &mut Option<Delivery>) -> bool {
    match delivery {
        Some(delivery) => delivery.is_written().await,
        None => pending().await,
    }
}

/// Why a session ends.
enum End {
    /// Nobody polls any more.
    Closed,
    /// It was closed from here.
    Close(CloseCode),
}

impl Work {
    /// Serves the session to its end. Gives the code with which the host closed it, if it did.
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
                // With nobody to give frames to, they stay in the outbox, which is bounded.
                taken = poll_fn(|context| outbox.poll_take(context, &mut frames)), if takes => {
                    if !frames.is_empty() {
                        self.said = frames.drain(..).collect();
                        self.say();
                    }
                    if let Taken::Close(code) = taken {
                        return End::Close(code);
                    }
                    self.socket.resume();
                }
                // It closes, or may go on with what it held back.
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
                    self.say();
                }
                () = gone(&mut self.poll) => self.end_poll(),
                is_written = is_written(&mut self.delivery) => {
                    self.delivery = None;
                    if is_written {
                        self.said.clear();
                    }
                    self.say();
                }
                batch = self.batches.recv(), if !has_post => {
                    let Some(batch) = batch else { return pending().await };
                    self.posted = Some(batch);
                }
                () = sleep_until(stalled), if has_poll && !takes => self.say_again(),
                () = sleep_until(deadline) => {
                    if has_poll {
                        self.end_poll();
                    } else if self.patience.is_over() {
                        return End::Closed;
                    }
                }
            }
            if let Err(end) = self.receive() {
                return end;
            }
        }
    }

    /// When the poll that waits has waited long enough; or, if none does, when to see whether the client is gone.
    fn deadline(&self) -> Instant {
        match &self.poll {
            Some((_, until)) => *until,
            None => self.patience.until(),
        }
    }

    /// When the poll that waits has waited long enough for the one before it.
    fn stalled(&self) -> Instant {
        match &self.poll {
            Some((_, until)) => *until - self.window + STALLED.min(self.window / 2),
            None => self.patience.until(),
        }
    }

    /// Gives the poll that waits what is to be said, once it is known that nobody has got it.
    fn say(&mut self) {
        if self.said.is_empty() || self.delivery.is_some() {
            return;
        }
        if let Some((answer, _)) = self.poll.take() {
            self.patience = patience(self.window);
            let (receipt, delivery) = Receipt::new();
            self.delivery = Some(delivery);
            // Who polled may have gone. Then the receipt is dropped with the rest, and the next poll gets the same.
            let _ = answer.send(PollResponse { frames: self.said.clone(), receipt: Some(receipt) });
        }
    }

    /// The client polls anew while its last answer is stuck, so it has given that up: its connection mustn't bring it any more.
    fn say_again(&mut self) {
        if let Some(delivery) = self.delivery.take() {
            delivery.revoke();
        }
        self.say();
    }

    /// Answers the poll that waits, if one does, that there is nothing to say.
    fn end_poll(&mut self) {
        if let Some((answer, _)) = self.poll.take() {
            self.patience = patience(self.window);
            let _ = answer.send(PollResponse::default());
        }
    }

    /// Receives what was posted, one message after another, for as long as there is room.
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
