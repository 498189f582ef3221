//! Who is subscribed to what, and the one way out to them.
//!
//! Every message to a topic goes through [`PubSub::broadcast`], whoever sent it: a plugin, a command, later another node.
//! It is encoded once for each serializer in use, and the same bytes are handed to every subscriber's [`Outbox`]; writing
//! them is the connection's own business. Nothing in here awaits under a lock.

mod audience;
mod broadcast;
mod outbox;

use std::any::Any;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use dashmap::DashMap;

use crate::protocol::{Frame, Serializer, Topic};

pub use audience::{Audience, Subscription};
pub use broadcast::{Broadcast, Encoded};
pub use outbox::{Outbox, OutboxLimits, Taken};

/// One who gets what is broadcast to a topic.
#[derive(Clone)]
pub struct Subscriber {
    /// The member's number, by which a sender is left out.
    pub id: u64,
    /// How its frames are written.
    pub serializer: Serializer,
    /// Where they go.
    pub outbox: Arc<Outbox>,
    /// What the subscriber's owner wants to find again in [`Audience::members`]; opaque in here.
    pub member: Arc<dyn Any + Send + Sync>,
}

/// A broadcast that waits for somebody's decision.
pub type Deferred = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One who may take a broadcast over, instead of having it delivered as it is.
pub trait Interceptor: Send + Sync {
    /// What is to be done with the broadcast in its place, or none to deliver it. It runs in its turn among the topic's
    /// other broadcasts, which wait for it.
    fn intercept(&self, broadcast: &Broadcast, audience: &Arc<Audience>) -> Option<Deferred>;
}

/// The registry of topics. A topic is in it for as long as somebody is subscribed.
#[derive(Default)]
pub struct PubSub {
    topics: DashMap<Topic, Arc<Audience>>,
    interceptor: OnceLock<Arc<dyn Interceptor>>,
}

impl PubSub {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the interceptor, once, before the first broadcast. Later calls are ignored.
    pub fn set_interceptor(&self, interceptor: Arc<dyn Interceptor>) {
        let _ = self.interceptor.set(interceptor);
    }

    /// Delivers a broadcast to everybody who is subscribed to its topic now.
    pub fn broadcast(&self, broadcast: Broadcast) {
        let Some(audience) = self.audience(broadcast.topic.as_str()) else { return };
        match self.interceptor.get().and_then(|interceptor| interceptor.intercept(&broadcast, &audience)) {
            Some(deferred) => audience.defer(deferred),
            None => audience.broadcast(broadcast),
        }
    }

    /// Those who are subscribed to a topic, if anybody is.
    #[must_use]
    pub fn audience(&self, topic: &str) -> Option<Arc<Audience>> {
        self.topics.get(topic).map(|audience| Arc::clone(&audience))
    }

    /// Adds a subscriber to a topic, and sends it `first` in the same moment: no broadcast comes before it, and none that is
    /// made once it was seen is missed.
    pub fn subscribe(&self, topic: &Topic, subscriber: &Subscriber, first: Option<&Frame>) -> Subscription {
        loop {
            let audience = Arc::clone(&self.topics.entry(topic.clone()).or_default());
            if let Some(key) = audience.add(subscriber.clone(), first) {
                return Subscription { topic: topic.clone(), audience, key };
            }
            // Its last subscriber left in between, and it is about to go from the registry.
            self.forget(topic, &audience);
        }
    }

    /// Takes a subscriber away.
    pub fn unsubscribe(&self, subscription: &Subscription) {
        if subscription.audience.remove(subscription.key) {
            self.forget(&subscription.topic, &subscription.audience);
        }
    }

    /// Every topic that somebody is subscribed to, with how many are.
    #[must_use]
    pub fn topics(&self) -> Vec<(Topic, usize)> {
        self.topics.iter().map(|entry| (entry.key().clone(), entry.value().len())).collect()
    }

    /// How many topics there are.
    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    fn forget(&self, topic: &Topic, gone: &Arc<Audience>) {
        self.topics.remove_if(topic, |_, audience| Arc::ptr_eq(audience, gone));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Payload;

    fn subscriber(id: u64, serializer: Serializer) -> (Subscriber, Arc<Outbox>) {
        let outbox = Arc::new(Outbox::new(OutboxLimits::default()));
        (Subscriber { id, serializer, outbox: Arc::clone(&outbox), member: Arc::new(()) }, outbox)
    }

    fn hello(topic: &Topic, except: Option<u64>) -> Broadcast {
        Broadcast { topic: topic.clone(), event: "hello".into(), payload: Payload::EMPTY, except }
    }

    #[test]
    fn a_broadcast_is_encoded_once_for_each_serializer_and_skips_its_sender() {
        let pubsub = PubSub::new();
        let topic = Topic::new("room:a");
        let (alice, alices) = subscriber(1, Serializer::V2);
        let (bob, bobs) = subscriber(2, Serializer::V2);
        let (old, olds) = subscriber(3, Serializer::V1);
        for each in [alice, bob, old] {
            pubsub.subscribe(&topic, &each, None);
        }
        pubsub.broadcast(hello(&topic, Some(1)));
        assert_eq!(alices.take_all(), []);
        assert_eq!(bobs.take_all(), [Frame::Text(r#"[null,null,"room:a","hello",{}]"#.into())]);
        let v1 = r#"{"event":"hello","payload":{},"ref":null,"topic":"room:a"}"#;
        assert_eq!(olds.take_all(), [Frame::Text(v1.into())]);
    }

    #[test]
    fn a_topic_goes_with_its_last_subscriber() {
        let pubsub = PubSub::new();
        let topic = Topic::new("room:a");
        let (alice, _outbox) = subscriber(1, Serializer::V2);
        let first = pubsub.subscribe(&topic, &alice, None);
        pubsub.unsubscribe(&first);
        assert_eq!(pubsub.topic_count(), 0);
        pubsub.subscribe(&topic, &alice, None);
        pubsub.unsubscribe(&first);
        assert_eq!(pubsub.topics(), [(topic, 1)]);
    }
}
