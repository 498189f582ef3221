//! A member's subscriptions to other topics.

use std::any::Any;
use std::sync::{Arc, Weak};

use super::channel::Channel;
use super::event::MemberEvent;
use crate::contract::{Message, Source};
use crate::protocol::Topic;
use crate::pubsub::{Broadcast, BroadcastObserver, TopicSubscriptionHandle};

/// Passes each broadcast to a member's `handle_info`. The channel holds the subscription, so the subscription must not keep
/// the channel alive.
struct TopicSubscription(Weak<Channel>);

impl BroadcastObserver for TopicSubscription {
    fn observe(&self, broadcast: &Broadcast) -> Option<Arc<dyn Any + Send + Sync>> {
        let channel = self.0.upgrade()?;
        let Broadcast { topic, event, payload, .. } = broadcast.clone();
        channel.post(MemberEvent::Info(Message { source: Source::Topic, topic, event, payload }));
        // This may now be the last reference to the channel. The caller drops it after it has released its locks.
        Some(channel)
    }
}

/// Subscribes a member to a topic, until the handle is dropped.
pub(in crate::channel::member) fn listen(channel: &Arc<Channel>, topic: &Topic) -> TopicSubscriptionHandle {
    let subscription: Arc<dyn BroadcastObserver> = Arc::new(TopicSubscription(Arc::downgrade(channel)));
    channel.services().pubsub.subscribe_observer(topic, channel.member.id, &subscription)
}
