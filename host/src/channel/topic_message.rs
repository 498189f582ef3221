//! Letters: what is sent to a topic rather than to its members, and becomes a turn of its `handle_message`.

use std::sync::{Arc, Weak};

use bytestring::ByteString;
use tokio::sync::oneshot;

use super::fault_log::Failed;
use super::in_flight::InFlight;
use super::turn_queue::TurnQueue;
use super::{Channel, MemberEvent, Node};
use crate::contract::{Fault, Message, Reply, Source, TopicCallback};
use crate::protocol::{Payload, Topic};

/// Why a letter wasn't handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undelivered {
    /// No route serves its topic.
    Unrouted,
    /// The plugin that serves its topic, of this name, has no `handle_message`.
    NotTaken(Arc<str>),
    /// As many letters wait for the topic as may.
    Busy,
    /// `handle_message` failed.
    Fault(Fault),
}

/// What came of a letter: an answer, perhaps.
pub type Delivered = Result<Option<Reply>, Undelivered>;

/// Who gets the answer.
pub(super) enum Sender {
    /// A member's own `handle_info`.
    Member(Weak<Channel>),
    /// The effect of a callback that has no member.
    Topic,
    /// Whoever waits at the other end.
    Outside(oneshot::Sender<Delivered>),
}

/// An event on its way to a topic.
pub(super) struct TopicMessage {
    pub(super) node: Arc<Node>,
    pub(super) topic: Topic,
    pub(super) event: ByteString,
    pub(super) payload: Payload,
    pub(super) sender: Sender,
    /// Until it is answered, it counts for its topic's plugin.
    pub(super) in_flight: Option<InFlight>,
}

impl Node {
    /// Sends an event to a topic's `handle_message`, whether anyone has joined it or not, and waits for the answer.
    ///
    /// # Errors
    /// Where nobody takes it, too much waits, or the callback fails.
    pub async fn send(self: &Arc<Self>, topic: &str, event: ByteString, payload: Payload) -> Delivered {
        let (sender, evaluated) = oneshot::channel();
        let topic = Topic::new(topic);
        let sender = Sender::Outside(sender);
        self.post(TopicMessage { node: Arc::clone(self), topic, event, payload, sender, in_flight: None });
        // It was lost only if its turn panicked, which is logged there.
        evaluated.await.unwrap_or_else(|_| Err(Undelivered::Fault(Fault::failed("a fault of the host"))))
    }

    /// Posts a letter. Where there is no room for it, its sender is told, or nobody.
    pub(super) fn post(&self, mut message: TopicMessage) {
        let Some(route) = self.routes.find(message.topic.as_str()) else {
            return message.answer(Err(Undelivered::Unrouted));
        };
        message.in_flight = self.in_flight.of(&route.plugin).add(message.bytes());
        if message.in_flight.is_none() {
            return message.answer(Err(Undelivered::Busy));
        }
        let queue = self.queues.of(&message.topic);
        match queue.post_message(Box::new(message), &self.limits) {
            Ok(drain) => {
                if let Some(drain) = drain {
                    drain.spawn();
                }
            }
            Err(message) => message.answer(Err(Undelivered::Busy)),
        }
    }
}

impl TopicMessage {
    /// Bytes that it holds while it waits.
    pub(super) fn bytes(&self) -> usize {
        self.event.len() + self.payload.len()
    }

    /// Takes its turn.
    pub(super) async fn turn(self, queue: &Arc<TurnQueue>) {
        let delivered = self.deliver(queue).await;
        self.answer(delivered);
    }

    async fn deliver(&self, queue: &Arc<TurnQueue>) -> Delivered {
        let route = self.node.routes.find(self.topic.as_str()).ok_or(Undelivered::Unrouted)?;
        if !route.takes.messages {
            return Err(Undelivered::NotTaken(Arc::clone(&route.plugin)));
        }
        let callback = TopicCallback::Message { event: self.event.clone(), payload: self.payload.clone() };
        let name = callback.name();
        self.node.topic_turn(queue, &self.topic, &route, callback).await.map_err(|fault| {
            let failed = Failed { event: Some(&self.event), ..Failed::in_callback(name) };
            self.node.log_topic_fault(&route, &self.topic, failed, &fault);
            Undelivered::Fault(fault)
        })
    }

    fn answer(self, delivered: Delivered) {
        match self.sender {
            Sender::Outside(sender) => drop(sender.send(delivered)),
            Sender::Member(member) => {
                if let (Some(channel), Ok(Some(reply))) = (member.upgrade(), delivered) {
                    let payload = as_message(reply);
                    let (topic, event) = (self.topic, self.event);
                    channel.post(MemberEvent::Info(Message { source: Source::Answer, topic, event, payload }));
                }
            }
            Sender::Topic => {}
        }
    }
}

/// A reply as `handle_info` gets it: bytes as they are, JSON with its status.
fn as_message(reply: Reply) -> Payload {
    match reply.payload {
        Payload::Json(response) => {
            let status = serde_json::Value::from(&*reply.status);
            Payload::Json(format!("{{\"status\":{status},\"response\":{response}}}").into())
        }
        bytes @ Payload::Binary(_) => bytes,
    }
}
