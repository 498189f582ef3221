//! Topic messages: events that are sent to a topic, not to its members. The topic handles them in its `handle_message`.

use std::sync::Arc;

use bytestring::ByteString;

use super::in_flight::InFlight;
use super::sender::{Sender, Undelivered};
use super::topics::{TopicTurns, Topics, WaitingMessages};
use crate::channel::turn::Job;
use crate::counts::Limit;
use crate::protocol::{Payload, Topic};

/// An event to be sent to a topic.
pub(in crate::channel) struct TopicMessage<S> {
    pub(in crate::channel) topic: Topic,
    pub(in crate::channel) event: ByteString,
    pub(in crate::channel) payload: Payload,
    pub(in crate::channel) sender: S,
}

/// A message that waits in its topic's queue.
pub(in crate::channel) struct MessageJob<S> {
    pub(in crate::channel) topic: Arc<TopicTurns>,
    pub(in crate::channel) event: ByteString,
    pub(in crate::channel) payload: Payload,
    /// None once its turn has begun.
    pub(in crate::channel) sender: Option<S>,
    /// It counts for its topic's plugin until it is answered.
    pub(in crate::channel) in_flight: Option<InFlight>,
}

/// Posts a message. If the limits don't allow it, its sender gets an answer at once.
pub(in crate::channel) fn post<S: Sender>(topics: &Arc<Topics>, message: TopicMessage<S>)
where
    MessageJob<S>: Job,
{
    let bytes = message.event.len() + message.payload.len();
    let Some(route) = topics.services.routes.find(message.topic.as_str()) else {
        return message.refuse(Undelivered::Unrouted);
    };
    let counts = topics.in_flight.of(&route.plugin);
    // Senders that wait no longer may hold places.
    let in_flight = counts.add(bytes).or_else(|| {
        topics.answers.sweep();
        counts.add(bytes)
    });
    let Some(in_flight) = in_flight else {
        Limit::TopicMessagesPerPlugin.hit();
        return message.refuse(Undelivered::Busy);
    };
    let topic = topics.of(&message.topic);
    let more = WaitingMessages { count: 1, bytes };
    if !topic.waiting().add(more, &topics.services.limits) {
        drop(in_flight);
        return message.refuse(Undelivered::Busy);
    }
    let TopicMessage { event, payload, sender, .. } = message;
    let (sender, in_flight) = (Some(sender), Some(in_flight));
    let job = MessageJob { topic: Arc::clone(&topic), event, payload, sender, in_flight };
    if let Some(drain) = topic.post(Box::new(job)) {
        drain.spawn();
    }
}

impl<S: Sender> TopicMessage<S> {
    fn refuse(self, reason: Undelivered) {
        self.sender.answer(&self.topic, self.event, Err(reason));
    }
}

impl<S> MessageJob<S> {
    /// Its turn begins, so it no longer counts among the waiting messages.
    pub(in crate::channel) fn leave_queue(&self) {
        self.topic.waiting().remove(WaitingMessages { count: 1, bytes: self.event.len() + self.payload.len() });
    }
}
