//! The session that listens.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client, Error};

use super::connect::{Connect, Connection, Messages, drive};
use super::failure::of_opening;
use super::pieces::{PieceReader, Received};
use super::session::note;
use crate::backoff::Backoff;
use crate::bus::{BusCounters, BusError, BusEvent, BusFuture, BusReceiver};
use crate::node::NodeId;

/// The events that wait for the host. While it doesn't take them, the connection isn't read, and the server keeps the rest in its queue.
/// A session that isn't read for longer than the server's timeout of TCP is ended by the server.
const WAITING: usize = 16;

/// A node sends each second, and hears itself. After this time without anything, the connection is tried.
const SILENCE: Duration = Duration::from_secs(3);

/// How long the server may take for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The notification of the functions of the table: a row has changed.
const NODES_CHANGED: &str = "nodes";

/// A session that may listen.
pub(super) struct Listening {
    client: Client,
    messages: Messages,
}

impl Listening {
    pub(super) async fn connect(connect: &dyn Connect) -> Result<Self, BusError> {
        let Connection { client, messages } = connect.connect().await?;
        Ok(Self { client, messages })
    }

    /// Listens to a channel, runs `send`, and stops listening. Returns whether `text` was heard.
    pub(super) async fn hears(
        &mut self,
        channel: &str,
        text: &str,
        send: impl Future<Output = Result<(), Error>>,
    ) -> Result<bool, Error> {
        /// The server tells what was sent before it answers the statement after that.
        const ROUNDS: usize = 3;
        let Self { client, messages } = self;
        let mut is_heard = false;
        let mut look = |message: AsyncMessage| {
            if let AsyncMessage::Notification(heard) = message {
                is_heard |= heard.channel() == channel && heard.payload() == text;
            }
        };
        drive(messages, client.batch_execute(&format!("LISTEN {channel}")), &mut look).await?;
        drive(messages, send, &mut look).await?;
        for _ in 0..ROUNDS {
            drive(messages, client.batch_execute("SELECT 1"), &mut look).await?;
        }
        drive(messages, client.batch_execute("UNLISTEN *"), &mut look).await?;
        Ok(is_heard)
    }
}

/// What listens for one node.
pub(super) struct ListenTask {
    connect: Arc<dyn Connect>,
    me: NodeId,
    channel: String,
    counters: Arc<BusCounters>,
    reader: PieceReader,
}

impl ListenTask {
    pub(super) fn new(connect: Arc<dyn Connect>, me: NodeId, channel: String, counters: Arc<BusCounters>) -> Self {
        Self { connect, me, channel, counters, reader: PieceReader::new(me.epoch) }
    }

    /// Starts to listen. What is sent after the return is heard.
    pub(super) async fn begin(&self, listening: &mut Listening) -> Result<(), BusError> {
        let Listening { client, messages } = listening;
        let (epoch, incarnation) = (self.me.epoch.0.cast_signed(), &self.me.incarnation.0[..]);
        let listens = format!("SELECT {}.node_listens($1, $2)", self.connect.schema());
        let work = async {
            let row = client.query_typed_one(&listens, &[(&epoch, Type::INT8), (&incarnation, Type::BYTEA)]).await?;
            client.batch_execute(&format!("LISTEN {}", self.channel)).await?;
            row.try_get(0)
        };
        // The server tells nothing before the answer to LISTEN.
        let is_alive: bool = drive(messages, work, |message| note(&message))
            .await
            .map_err(|error| of_opening(&*self.connect, &error))?;
        if is_alive { Ok(()) } else { Err(BusError::Fenced) }
    }

    /// Starts the task that listens.
    pub(super) fn run(self, listening: Listening) -> Receiver {
        let (sender, events) = mpsc::channel(WAITING);
        Receiver { events, task: tokio::spawn(self.listen(listening, sender)) }
    }

    async fn listen(mut self, mut listening: Listening, events: mpsc::Sender<BusEvent>) {
        loop {
            let Some(why) = self.hear(&mut listening, &events).await else { return };
            tracing::warn!("the session that hears the cluster's bus is lost: {why}");
            self.reader.clear();
            if events.send(BusEvent::Down).await.is_err() {
                return;
            }
            listening = self.connect_again().await;
            BusCounters::add(&self.counters.reconnects, 1);
            tracing::info!("the cluster's bus is heard again");
            if events.send(BusEvent::Up).await.is_err() {
                return;
            }
        }
    }

    /// Hears until the connection is lost, and returns why. Returns nothing if nobody wants events any more.
    async fn hear(&mut self, listening: &mut Listening, events: &mpsc::Sender<BusEvent>) -> Option<String> {
        let Listening { client, messages } = listening;
        let mut probe: Option<BusFuture<'_, Result<(), Error>>> = None;
        let mut deadline = Instant::now() + SILENCE;
        loop {
            let message = tokio::select! {
                biased;
                message = messages.next() => message,
                answered = async { match probe.as_mut() { Some(probe) => probe.await, None => std::future::pending().await } } => {
                    probe = None;
                    deadline = Instant::now() + SILENCE;
                    match answered {
                        Ok(()) => continue,
                        Err(error) => return Some(self.connect.explain(&error)),
                    }
                }
                () = sleep_until(deadline) => {
                    if probe.is_some() {
                        return Some("the database doesn't answer".into());
                    }
                    probe = Some(Box::pin(client.batch_execute("SELECT 1")));
                    deadline = Instant::now() + ANSWER_TIMEOUT;
                    continue;
                }
            };
            let event = match message {
                Some(Ok(message)) => self.event(&message),
                Some(Err(error)) => return Some(self.connect.explain(&error)),
                None => return Some("the connection was closed".into()),
            };
            if let Some(event) = event {
                events.send(event).await.ok()?;
            }
            deadline = Instant::now() + if probe.is_some() { ANSWER_TIMEOUT } else { SILENCE };
        }
    }

    fn event(&mut self, message: &AsyncMessage) -> Option<BusEvent> {
        let AsyncMessage::Notification(notification) = message else {
            note(message);
            return None;
        };
        if notification.payload() == NODES_CHANGED {
            return Some(BusEvent::NodesChanged);
        }
        match self.reader.read(notification.payload()) {
            Received::Flush(flush) => {
                BusCounters::add(&self.counters.heard, 1);
                Some(BusEvent::Flush(flush))
            }
            Received::Piece | Received::Elsewhere => None,
            Received::Ignored => {
                BusCounters::add(&self.counters.ignored, 1);
                None
            }
        }
    }

    /// Connects until it succeeds. A node that was declared dead isn't heard any more: it listens with its next row.
    async fn connect_again(&self) -> Listening {
        let mut backoff = Backoff::new();
        loop {
            backoff.wait().await;
            let attempt = async {
                let mut listening = Listening::connect(&*self.connect).await?;
                self.begin(&mut listening).await.map(|()| listening)
            };
            match timeout(2 * ANSWER_TIMEOUT, attempt).await {
                Ok(Ok(listening)) => return listening,
                Ok(Err(error)) => tracing::debug!("the cluster's bus can't be heard yet: {error}"),
                Err(_) => tracing::debug!("the cluster's bus can't be heard yet: the database doesn't answer"),
            }
            backoff.failed(Instant::now());
        }
    }
}

/// Gives what was heard to the host. The session ends with the value.
pub(super) struct Receiver {
    events: mpsc::Receiver<BusEvent>,
    task: JoinHandle<()>,
}

impl BusReceiver for Receiver {
    fn next(&mut self) -> BusFuture<'_, BusEvent> {
        Box::pin(async move {
            match self.events.recv().await {
                Some(event) => event,
                // The task ends only with its runtime.
                None => std::future::pending().await,
            }
        })
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}
