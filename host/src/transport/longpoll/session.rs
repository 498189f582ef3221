//! A session: a socket between two polls, owned by one task.

use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::contract::Ending;
use crate::protocol::{CloseCode, Frame, Incoming};
use crate::pubsub::Taken;
use crate::socket::Socket;

/// Polls that may wait for a session's task, and batches; past it who asks waits too.
const WAITING_MAX: usize = 8;

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

/// Who waits for what there is to say.
type Poll = oneshot::Sender<Vec<Frame>>;

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
    /// When the last poll ended.
    polled: Instant,
    /// What isn't received yet. Polls are served meanwhile: a full mailbox keeps nobody from hearing.
    posted: Option<Batch>,
}

impl Session {
    pub(super) fn new(socket: Socket, window: Duration) -> (Self, Work) {
        let ((poll, polls), (batch, batches)) = (mpsc::channel(WAITING_MAX), mpsc::channel(WAITING_MAX));
        let work = Work { socket, window, polls, batches, poll: None, polled: Instant::now(), posted: None };
        (Self { polls: poll, batches: batch, turn: Arc::default(), window }, work)
    }

    /// Waits until nobody else brings messages, and keeps others from it until what is given is dropped.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Waits for what there is to say, and gives nothing where that is nothing. None if the session is no more.
    pub(super) async fn poll(&self) -> Option<Vec<Frame>> {
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
        timeout(self.window, posting).await.unwrap_or(Err(Unposted::NotTaken))
    }
}

/// Why a session ends.
enum End {
    /// Nobody polls any more, or what was sent is no message.
    Closed,
    /// It was closed from here.
    Close(CloseCode),
}

impl Work {
    /// Serves the session to its end.
    pub(super) async fn run(mut self) {
        let end = self.serve().await;
        let ending = match end {
            End::Close(CloseCode::ServiceRestart) => Ending::Shutdown,
            End::Close(_) | End::Closed => Ending::Closed,
        };
        drop(self.socket.close(ending));
    }

    async fn serve(&mut self) -> End {
        let outbox = Arc::clone(self.socket.outbox());
        let mut frames = VecDeque::new();
        loop {
            let deadline = self.deadline();
            let (has_poll, has_post) = (self.poll.is_some(), self.posted.is_some());
            tokio::select! {
                // With nobody to give frames to, they stay in the outbox, which is bounded.
                taken = poll_fn(|context| outbox.poll_take(context, &mut frames)), if has_poll => {
                    if !frames.is_empty() {
                        self.answer_poll(frames.drain(..).collect());
                    }
                    if let Taken::Close(code) = taken {
                        return End::Close(code);
                    }
                    self.socket.resume();
                }
                // It closes, or may go on with what it held back.
                taken = poll_fn(|context| outbox.poll_apart(context)), if !has_poll => {
                    if let Taken::Close(code) = taken {
                        return End::Close(code);
                    }
                    self.socket.resume();
                }
                poll = self.polls.recv() => {
                    let Some(poll) = poll else { return pending().await };
                    self.answer_poll(Vec::new());
                    self.poll = Some((poll, Instant::now() + self.window));
                }
                batch = self.batches.recv(), if !has_post => {
                    let Some(batch) = batch else { return pending().await };
                    self.posted = Some(batch);
                }
                () = sleep_until(deadline) => {
                    if !has_poll {
                        return End::Closed;
                    }
                    self.answer_poll(Vec::new());
                }
            }
            if self.receive().is_err() {
                return End::Closed;
            }
        }
    }

    /// When the poll that waits has waited long enough; or, if none does, when the client is taken to be gone.
    fn deadline(&self) -> Instant {
        match &self.poll {
            Some((_, until)) => *until,
            None => self.polled + self.window * 3 / 2,
        }
    }

    fn answer_poll(&mut self, frames: Vec<Frame>) {
        if let Some((answer, _)) = self.poll.take() {
            self.polled = Instant::now();
            // Who polled may have gone; what it was for it is lost, as in Phoenix.
            let _ = answer.send(frames);
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
