//! Ears: a member's hearing of further topics.

use std::any::Any;
use std::sync::{Arc, Weak};

use super::{Channel, MemberEvent};
use crate::contract::{Message, Source};
use crate::protocol::Topic;
use crate::pubsub::{Broadcast, BroadcastObserver, TopicSubscriptionHandle};

/// One that hands what it hears to a member's `handle_info`. It doesn't keep the channel alive, which keeps it.
struct TopicSubscription(Weak<Channel>);

impl BroadcastObserver for TopicSubscription {
    fn observe(&self, broadcast: &Broadcast) -> Option<Arc<dyn Any + Send + Sync>> {
        let channel = self.0.upgrade()?;
        let Broadcast { topic, event, payload, .. } = broadcast.clone();
        channel.post(MemberEvent::Info(Message { source: Source::Topic, topic, event, payload }));
        // The turn may be over by now, and with it the last other hold on the channel.
        Some(channel)
    }
}

impl Channel {
    /// Hears a topic, until what is given is dropped.
    pub(super) fn listen(self: &Arc<Self>, topic: &Topic) -> TopicSubscriptionHandle {
        let subscription: Arc<dyn BroadcastObserver> = Arc::new(TopicSubscription(Arc::downgrade(self)));
        self.node.pubsub.subscribe_observer(topic, self.member.id, &subscription)
    }
}
