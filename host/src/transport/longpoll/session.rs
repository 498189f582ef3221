//! A session: a socket between two polls, owned by one task.

use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::contract::Ending;
use crate::protocol::{CloseCode, Frame};
use crate::pubsub::Taken;
use crate::socket::Socket;

/// Requests that may wait for a session's task; past it who asks waits too.
const WAITING_MAX: usize = 8;

/// A session, for those who bring requests to it.
#[derive(Clone)]
pub(super) struct Session {
    asked: mpsc::Sender<Asked>,
    window: Duration,
}

/// Why messages weren't taken.
pub(super) enum Unposted {
    /// The session is no more.
    Gone,
    /// They were no messages, or it had no room for them in time.
    NotTaken,
}

enum Asked {
    Poll(oneshot::Sender<Vec<Frame>>),
    Post(VecDeque<Frame>, oneshot::Sender<()>),
}

/// The work of a session, to be run in a task of its own.
pub(super) struct Work {
    socket: Socket,
    window: Duration,
    asked: mpsc::Receiver<Asked>,
    /// The poll that waits, and until when.
    poll: Option<(oneshot::Sender<Vec<Frame>>, Instant)>,
    /// When the last poll ended.
    polled: Instant,
    /// What was posted and isn't received yet, and who waits for that.
    posted: Option<(VecDeque<Frame>, oneshot::Sender<()>)>,
}

impl Session {
    pub(super) fn new(socket: Socket, window: Duration) -> (Self, Work) {
        let (sender, asked) = mpsc::channel(WAITING_MAX);
        let work = Work { socket, window, asked, poll: None, polled: Instant::now(), posted: None };
        (Self { asked: sender, window }, work)
    }

    /// Waits for what there is to say, and gives nothing where that is nothing. None if the session is no more.
    pub(super) async fn poll(&self) -> Option<Vec<Frame>> {
        let (answer, answered) = oneshot::channel();
        self.asked.send(Asked::Poll(answer)).await.ok()?;
        // A session that ends meanwhile has nothing more to say; the next poll finds it gone.
        Some(answered.await.unwrap_or_default())
    }

    /// Hands messages over, and waits until the last of them was received.
    pub(super) async fn post(&self, frames: Vec<Frame>) -> Result<(), Unposted> {
        let (done, taken) = oneshot::channel();
        let posting = async {
            self.asked.send(Asked::Post(frames.into(), done)).await.map_err(|_| Unposted::Gone)?;
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
                asked = self.asked.recv(), if !has_post => match asked {
                    Some(Asked::Poll(answer)) => {
                        self.answer_poll(Vec::new());
                        self.poll = Some((answer, Instant::now() + self.window));
                    }
                    Some(Asked::Post(frames, done)) => self.posted = Some((frames, done)),
                    None => return pending().await,
                },
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
            && let Some((frames, _)) = &mut self.posted
        {
            match frames.pop_front() {
                Some(frame) => self.socket.receive(&frame).map_err(|closing| End::Close(closing.0))?,
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
