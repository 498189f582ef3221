//! A subscriber in its audience, and the handles by which subscribers and observers leave the audience.

use std::sync::Arc;

use bennu_semantics::entries::Shown;

use super::state_update::EncodedUpdate;
use super::{Audience, PubSub, Subscriber};
use crate::protocol::Topic;

/// A subscriber, and the number of jobs that had been queued when it was added.
pub(super) struct Placed {
    pub(super) subscriber: Subscriber,
    pub(super) since: u64,
    /// Its part of the topic's published state or entries. If it is current, it needs only the next change.
    pub(super) shown: Shown,
}

impl Placed {
    pub(super) fn send_update(&mut self, update: &mut EncodedUpdate<'_>) {
        let follows = update.send(self.shown.is_current(), &self.subscriber);
        // A published state has no views and no offsets. But the view of published entries stays.
        let view = self.shown.view();
        self.shown = if follows { Shown::Current { view, offset: 0 } } else { Shown::Nothing { view } };
    }
}

/// A subscriber's entry in an audience. [`PubSub::unsubscribe`] removes it.
pub struct Subscription {
    pub(super) topic: Topic,
    pub(super) audience: Arc<Audience>,
    pub(super) key: usize,
}

impl Subscription {
    /// Returns the audience of this entry.
    #[must_use]
    pub fn audience(&self) -> &Arc<Audience> {
        &self.audience
    }
}

/// An observer's entry in an audience, removed when it is dropped.
pub struct TopicSubscriptionHandle {
    pub(super) pubsub: Arc<PubSub>,
    pub(super) topic: Topic,
    pub(super) audience: Arc<Audience>,
    pub(super) key: usize,
}

impl TopicSubscriptionHandle {
    /// Returns the observed topic.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.topic
    }
}

impl Drop for TopicSubscriptionHandle {
    fn drop(&mut self) {
        if self.audience.remove_observer(self.key) {
            self.pubsub.forget(&self.topic, &self.audience);
        }
    }
}
