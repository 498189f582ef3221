//! Ears: a member's hearing of further topics.

use std::any::Any;
use std::sync::{Arc, Weak};

use super::{Channel, Entry};
use crate::contract::{Message, Source};
use crate::protocol::Topic;
use crate::pubsub::{Broadcast, Hearing, Listener};

/// One that hands what it hears to a member's `handle_info`. It doesn't keep the channel alive, which keeps it.
struct Ear(Weak<Channel>);

impl Listener for Ear {
    fn hear(&self, broadcast: &Broadcast) -> Option<Arc<dyn Any + Send + Sync>> {
        let channel = self.0.upgrade()?;
        let Broadcast { topic, event, payload, .. } = broadcast.clone();
        channel.post(Entry::Info(Message { source: Source::Topic, topic, event, payload }));
        // The turn may be over by now, and with it the last other hold on the channel.
        Some(channel)
    }
}

impl Channel {
    /// Hears a topic, until what is given is dropped.
    pub(super) fn listen(self: &Arc<Self>, topic: &Topic) -> Hearing {
        let ear: Arc<dyn Listener> = Arc::new(Ear(Arc::downgrade(self)));
        self.node.pubsub.listen(topic, self.member.id, &ear)
    }
}
