//! What listens on NATS.
//!
//! After a connection was made, a node sends a mark to itself. When it hears the mark, the server has its subscriptions, so everything
//! that is sent from then on is heard.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::{Client, Event, Message, Subscriber};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::frame::{self, Frame};
use super::sender::Subjects;
use crate::bus::{BusCounters, BusEvent, BusFuture, BusReceiver, Lane};
use crate::inbox::Inbox;
use crate::node::NodeId;
use crate::pieces::{Assembler, Put};

/// How long a node waits for its mark before it sends another one: the first one may have been lost.
const MARK_PAUSE: Duration = Duration::from_secs(1);

/// How many senders' flushes may be incomplete at the same time. A message has at most a few MiB, so this is the bound of the memory.
const OPEN_MAX: usize = 16;

/// What is needed to listen.
pub(super) struct Subscription {
    pub(super) client: Client,
    pub(super) me: NodeId,
    pub(super) subjects: Subjects,
    pub(super) counters: Arc<BusCounters>,
    /// The lane of all, and that of this node.
    pub(super) lanes: [Subscriber; 2],
    pub(super) events: mpsc::Receiver<Event>,
    /// The number of the last mark.
    pub(super) mark: u64,
}

impl Subscription {
    /// Waits for a message of either lane. The client ends a subscription only when it ends itself.
    pub(super) async fn message(lanes: &mut [Subscriber; 2]) -> Option<Message> {
        let [all, own] = lanes;
        tokio::select! {
            message = all.next() => message,
            message = own.next() => message,
        }
    }

    /// Sends a mark, without waiting for the connection.
    pub(super) async fn send_mark(&mut self, lane: Lane) {
        self.mark += 1;
        // What isn't sent isn't heard, and is sent again.
        let _ = self.client.publish(self.subjects.of(lane), frame::mark(self.me, self.mark)).await;
    }

    /// Starts the task that listens.
    pub(super) fn listen(self) -> Receiver {
        let inbox = Arc::new(Inbox::default());
        let task = tokio::spawn(
            ReceiveTask {
                inbox: Arc::clone(&inbox),
                subscription: self,
                assembler: Assembler::new(OPEN_MAX),
                next_mark: None,
            }
            .run(),
        );
        Receiver { inbox, task }
    }
}

/// Takes what the client gives, always: the client drops what isn't taken.
struct ReceiveTask {
    inbox: Arc<Inbox>,
    subscription: Subscription,
    assembler: Assembler,
    /// When the next mark is sent. None while everything is heard.
    next_mark: Option<Instant>,
}

impl ReceiveTask {
    async fn run(mut self) {
        loop {
            let next_mark = self.next_mark;
            let marking = async move {
                match next_mark {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // First, so that a loss is told before what comes after it.
                biased;
                Some(event) = self.subscription.events.recv() => self.event(event),
                message = Subscription::message(&mut self.subscription.lanes) => match message {
                    Some(message) => self.message(&message),
                    None => return self.inbox.lost(),
                },
                () = marking => {
                    self.next_mark = Some(Instant::now() + MARK_PAUSE);
                    let own = Lane::Node(self.subscription.me.epoch);
                    self.subscription.send_mark(own).await;
                }
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Disconnected => {
                tracing::warn!("the connection to the cluster's bus on NATS is lost");
                self.lost(None);
            }
            Event::Connected => self.lost(Some(Instant::now())),
            Event::SlowConsumer(_) => {
                tracing::warn!("this node reads the cluster's bus on NATS too slowly: messages are lost");
                self.lost(Some(Instant::now() + MARK_PAUSE));
            }
            Event::ServerError(error) => tracing::warn!("the NATS server says: {error}"),
            Event::ClientError(error) => tracing::debug!("the connection to NATS: {error}"),
            Event::LameDuckMode | Event::Draining | Event::Closed => tracing::debug!("the connection to NATS: {event}"),
        }
    }

    fn lost(&mut self, next_mark: Option<Instant>) {
        self.assembler.clear();
        self.inbox.lost();
        self.next_mark = next_mark;
    }

    fn message(&mut self, message: &Message) {
        let ignored = match frame::read(&message.payload) {
            Some(Frame::Mark(node, mark)) => {
                // An older one was sent before the loss.
                if node == self.subscription.me && mark == self.subscription.mark && self.next_mark.is_some() {
                    self.next_mark = None;
                    self.subscription.counters.reconnects.fetch_add(1, Ordering::Relaxed);
                    tracing::info!("the cluster's bus on NATS is heard again");
                    self.inbox.found();
                }
                false
            }
            Some(Frame::Piece(place, bytes)) => match self.assembler.put(place, bytes) {
                Put::Flush(flush) => {
                    let counter = if self.inbox.push(flush) {
                        &self.subscription.counters.heard
                    } else {
                        &self.subscription.counters.overflows
                    };
                    counter.fetch_add(1, Ordering::Relaxed);
                    false
                }
                Put::Piece => false,
                Put::Ignored => true,
            },
            None => true,
        };
        if ignored {
            self.subscription.counters.ignored.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Gives what was heard to the host. The task ends with the value.
pub(super) struct Receiver {
    inbox: Arc<Inbox>,
    task: JoinHandle<()>,
}

impl BusReceiver for Receiver {
    fn next(&mut self) -> BusFuture<'_, BusEvent> {
        Box::pin(self.inbox.next())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}
