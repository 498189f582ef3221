//! A session: a socket that exists between polls, owned by one task.

use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, mpsc, oneshot};

use super::poll_queue::{Poll, PollQueue, PollResponse};
use crate::contract::Ending;
use crate::counts::Limit;
use crate::protocol::{CloseCode, Incoming};
use crate::pubsub::{Outbox, Taken};
use crate::socket::Socket;
use crate::timing::within;

/// The most batches in the queue of a session's task. Further requests wait until there is room.
const WAITING_MAX: usize = 8;

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

/// Posted messages, and the POST that waits until they are received.
type Batch = (VecDeque<Incoming>, oneshot::Sender<()>);

/// The work of a session, which runs in a task of its own.
pub(super) struct Work {
    socket: Socket,
    polls: PollQueue,
    batches: mpsc::Receiver<Batch>,
    /// The messages that aren't received yet. Polls are served meanwhile, so that a full mailbox doesn't delay the client's
    /// frames.
    posted: Option<Batch>,
}

/// The rest of a session whose socket the host has closed: the frames that were queued before.
pub(super) struct Rest {
    outbox: Arc<Outbox>,
    polls: PollQueue,
    code: CloseCode,
}

impl Session {
    pub(super) fn new(socket: Socket, window: Duration) -> (Self, Work) {
        let (sender, polls) = PollQueue::new(window);
        let (batch, batches) = mpsc::channel(WAITING_MAX);
        let work = Work { socket, polls, batches, posted: None };
        (Self { polls: sender, batches: batch, turn: Arc::default(), window }, work)
    }

    /// Waits until no other POST is handled for this session. Further POSTs wait until the guard is dropped.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Waits for frames, for at most the poll window. The response has no frames if none come in that time, or if the
    /// session ends while its task holds this poll. Returns none if the session ends before its task receives the poll. If
    /// the future is dropped while it waits, no frame is lost.
    pub(super) async fn poll(&self) -> Option<PollResponse> {
        let (answer, answered) = oneshot::channel();
        self.polls.send(answer).await.ok()?;
        answered.await.ok()
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

impl Work {
    /// Serves the session until its socket ends. If the host closed the socket, returns the code, and the frames that the
    /// client hasn't got yet.
    pub(super) async fn run(mut self) -> Option<(CloseCode, Rest)> {
        let code = self.serve().await;
        let Self { socket, polls, .. } = self;
        let outbox = Arc::clone(socket.outbox());
        if let Some(code) = code {
            // From now on, no frame is queued any more.
            outbox.close(code);
        }
        let ending = if code == Some(CloseCode::ServiceRestart) { Ending::Shutdown } else { Ending::Closed };
        drop(socket.close(ending));
        code.map(|code| (code, Rest { outbox, polls, code }))
    }

    /// Returns the code with which the host closes the socket, or none if the client doesn't poll any more.
    async fn serve(&mut self) -> Option<CloseCode> {
        let outbox = Arc::clone(self.socket.outbox());
        let mut frames = VecDeque::new();
        loop {
            let (takes, has_post) = (self.polls.wants_frames(), self.posted.is_some());
            tokio::select! {
                // While no poll waits, frames stay in the outbox, which is bounded.
                taken = poll_fn(|context| outbox.poll_take(context, &mut frames)), if takes => {
                    if !frames.is_empty() {
                        self.polls.answer(&mut frames);
                    }
                    if let Taken::Close(code) = taken {
                        return Some(code);
                    }
                    self.socket.resume();
                }
                // Without taking frames: the outbox may close, or a message that was held back may be tried again.
                taken = poll_fn(|context| outbox.poll_apart(context)), if !takes => {
                    if let Taken::Close(code) = taken {
                        return Some(code);
                    }
                    self.socket.resume();
                }
                is_gone = self.polls.handle_next() => {
                    if is_gone {
                        Limit::LongpollWindowMs.hit();
                        return None;
                    }
                }
                batch = self.batches.recv(), if !has_post => {
                    let Some(batch) = batch else { return pending().await };
                    self.posted = Some(batch);
                }
            }
            if let Err(code) = self.receive() {
                return Some(code);
            }
        }
    }

    /// Passes posted messages to the socket, one after another, until the socket has no room for the next one.
    ///
    /// # Errors
    /// The code with which the socket closes because of a message.
    fn receive(&mut self) -> Result<(), CloseCode> {
        while !self.socket.is_held_back()
            && let Some((messages, _)) = &mut self.posted
        {
            match messages.pop_front() {
                Some(message) => self.socket.receive(&message).map_err(|closing| closing.0)?,
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

impl Rest {
    /// Answers the waiting poll and later ones with the rest of the frames. Ends when all are written, when the client
    /// doesn't poll any more, or when the time for the whole rest is over. A host that stops accepts no more polls, so
    /// then it ends at once.
    pub(super) async fn deliver(mut self) {
        if self.code != CloseCode::ServiceRestart {
            // The deadline is for the whole rest, and no poll extends it. Otherwise a client that polls, but prevents that
            // its answers are written, could keep the frames and its place among the host's sockets without end.
            let _ = within(self.polls.timeout(), self.deliver_frames()).await;
        }
        self.polls.end_poll();
    }

    /// Ends when all frames are written, or when the client doesn't poll any more.
    async fn deliver_frames(&mut self) {
        let mut frames = VecDeque::new();
        loop {
            if self.polls.is_confirmed() {
                self.outbox.take(&mut frames);
                if frames.is_empty() {
                    return;
                }
                self.polls.answer(&mut frames);
            }
            if self.polls.handle_next().await {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinHandle;
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::protocol::Frame;
    use crate::pubsub::OutboxLimits;

    const WINDOW: Duration = Duration::from_secs(10);

    /// Delivers the rest of a session with one queued frame, and returns how long that took.
    fn closed() -> (Session, JoinHandle<Duration>) {
        let outbox = Arc::new(Outbox::new(OutboxLimits::default()));
        outbox.push(frame());
        outbox.close(CloseCode::GoingAway);
        let (sender, polls) = PollQueue::new(WINDOW);
        let session = Session { polls: sender, batches: mpsc::channel(1).0, turn: Arc::default(), window: WINDOW };
        let rest = Rest { outbox, polls, code: CloseCode::GoingAway };
        let start = Instant::now();
        let delivering = tokio::spawn(async move {
            rest.deliver().await;
            start.elapsed()
        });
        (session, delivering)
    }

    fn frame() -> Frame {
        Frame::text("[1]")
    }

    /// Whether this is one and a half windows, with the resolution of timers.
    fn is_whole_time(time: Duration) -> bool {
        time.abs_diff(WINDOW * 3 / 2) < Duration::from_millis(100)
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_lost_after_the_close_is_sent_again() {
        let (session, delivering) = closed();
        let lost = session.poll().await.expect("the session has not ended");
        assert_eq!(lost.frames, [frame()]);
        drop(lost);
        let again = session.poll().await.expect("the session has not ended");
        assert_eq!(again.frames, [frame()]);
        again.receipt.expect("the answer has frames").fulfil();
        let took = delivering.await.expect("no panic");
        assert!(took < WINDOW, "it ends when all frames are written: {took:?}");
        assert!(session.poll().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_rest_ends_if_the_client_does_not_poll() {
        let (_session, delivering) = closed();
        let took = delivering.await.expect("no panic");
        assert!(is_whole_time(took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn polls_whose_answers_are_lost_do_not_extend_the_rest() {
        let (session, delivering) = closed();
        for _ in 0..10 {
            drop(session.poll().await);
            sleep(WINDOW * 9 / 10).await;
        }
        assert!(delivering.is_finished(), "it must not last as long as the client polls");
        let took = delivering.await.expect("no panic");
        assert!(is_whole_time(took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_that_waits_at_the_end_of_the_rest_is_answered() {
        let (session, delivering) = closed();
        // Its answer is being written until the end, so no other poll gets the frames.
        let writing = session.poll().await.expect("the session has not ended");
        sleep(WINDOW * 3 / 2 - Duration::from_millis(200)).await;
        let waiting = session.poll().await.expect("it is answered without frames");
        assert!(waiting.frames.is_empty());
        drop(writing);
        let took = delivering.await.expect("no panic");
        assert!(is_whole_time(took), "{took:?}");
    }
}
