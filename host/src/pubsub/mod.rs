//! The subscribers of all topics, and the one way to send them messages.
//!
//! Every message to a topic goes through [`PubSub::broadcast`], whether a plugin or a command sends it. In a cluster, that
//! sends it to the other nodes too, where it goes through [`PubSub::deliver_from_elsewhere`]. It is encoded once for each
//! serializer in use, and compressed once for each, and every subscriber's [`Outbox`] gets the same bytes. The connections
//! write their outboxes themselves. Nothing here awaits under a lock.

mod after_turn;
mod audience;
mod broadcast;
mod droppables;
mod entries_update;
mod event_log;
mod histories;
mod history;
mod names;
mod other_nodes;
mod outbox;
mod placed;
mod pressure;
mod queue;
mod queued_frames;
mod recovery;
mod state_frames;
mod state_update;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use bennu_semantics::HistorySpec;
use dashmap::DashMap;

use crate::counts::Traffic;
use crate::protocol::{Frame, Serializer, Topic};

pub use after_turn::{AfterTurn, poll_once};
pub use audience::Audience;
pub use broadcast::{Broadcast, Encoded, Except};
pub use droppables::{DropKey, Droppable, DroppableCounts, Pushed};
pub use entries_update::{CaughtUp, EntriesState, EntriesUpdate, Wanted};
pub use event_log::{
    DescribeMember, EventLog, EventReader, MemberInfo, PATTERNS_MAX, READERS_MAX, ReadEvent, TooManyReaders,
    TopicEvent, TopicEventKind,
};
pub use histories::{Histories, HistoryLimits};
pub use history::{ClientKey, Epoch, Position};
pub use names::Named;
pub use other_nodes::OtherNodes;
pub use outbox::{Outbox, OutboxLimits, OutboxWaker, Taken};
pub use placed::{Subscription, TopicSubscriptionHandle};
pub use pressure::{HELD_BACK_MAX, Pressure};
pub use recovery::{RecoveringMember, Rejoin, binary_number_frame, position_payload};
pub use state_frames::StateFrames;
pub use state_update::StateUpdate;

/// A subscriber of a topic, which gets the topic's broadcasts.
#[derive(Clone)]
pub struct Subscriber {
    /// The member's number. [`Except`] leaves senders out by it.
    pub id: u64,
    /// The serializer that encodes its frames.
    pub serializer: Serializer,
    /// Whether its client takes compressed frames.
    pub deflates: bool,
    /// Whether its client gets the numbers of broadcasts in the topic's history.
    pub has_numbers: bool,
    /// The outbox that its frames are pushed into.
    pub outbox: Arc<Outbox>,
    /// A value of the subscriber's owner, which [`Audience::members`] returns. This module doesn't look into it.
    pub member: Arc<dyn Any + Send + Sync>,
}

/// An observer of a topic. It is called for each broadcast to the topic, and has no client.
pub trait BroadcastObserver: Send + Sync {
    /// Handles a broadcast. Calls come in the order of the broadcasts, under the audience's lock, so this must not
    /// wait. The caller drops the returned value after it has released the lock. An observer that may hold the last
    /// reference to its owner returns that reference: the drop of the owner removes the observer, which needs the same
    /// lock.
    fn observe(&self, broadcast: &Broadcast) -> Option<Arc<dyn Any + Send + Sync>>;
}

/// A future that decides about a broadcast, and delivers it.
pub type Deferred = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What happens to a broadcast.
#[derive(Default)]
pub struct Handling {
    /// Handles the broadcast, in place of its normal delivery. The future runs in the broadcast's place in the topic's
    /// order. Later broadcasts wait for its end.
    pub deferred: Option<Deferred>,
    /// The history that the topic keeps.
    pub history: Option<HistorySpec>,
    /// Whether the broadcast was made at another node.
    pub is_from_elsewhere: bool,
}

/// Says what happens to broadcasts.
pub trait Interceptor: Send + Sync {
    /// Returns what happens to a broadcast.
    fn intercept(&self, broadcast: &Broadcast, audience: &Arc<Audience>) -> Handling;
}

/// The registry of topics. It contains each topic that has a subscriber, an observer or a history.
#[derive(Default)]
pub struct PubSub {
    topics: DashMap<Topic, Arc<Audience>>,
    /// The names of the same topics in order. It is changed only while the topic's entry in `topics` is locked, so that
    /// both agree. The order of the locks is: `topics`, then `index`.
    index: RwLock<BTreeSet<Topic>>,
    names: Arc<names::Names>,
    /// Whether outboxes are written as fast as they fill.
    pub pressure: Arc<Pressure>,
    /// The counts of droppable messages.
    pub droppable: Arc<DroppableCounts>,
    /// The histories of the topics.
    pub histories: Arc<Histories>,
    /// The events that programs outside read.
    pub events: Arc<EventLog>,
    interceptor: OnceLock<Arc<dyn Interceptor>>,
    other_nodes: OnceLock<Arc<dyn OtherNodes>>,
}

impl PubSub {
    /// Creates an empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the interceptor. This is called once, before the first broadcast. Later calls are ignored.
    pub fn set_interceptor(&self, interceptor: Arc<dyn Interceptor>) {
        let _ = self.interceptor.set(interceptor);
    }

    /// Sets the other nodes of the cluster. This is called once, before the first member joins. Later calls are ignored.
    pub fn set_other_nodes(&self, other_nodes: Arc<dyn OtherNodes>) {
        let _ = self.other_nodes.set(other_nodes);
    }

    /// The other nodes, if this one is in a cluster.
    #[must_use]
    pub fn other_nodes(&self) -> Option<&dyn OtherNodes> {
        self.other_nodes.get().map(|other_nodes| &**other_nodes)
    }

    /// Delivers a broadcast to all current subscribers of its topic, at all nodes of the cluster. The event `disconnect` also
    /// closes all sockets whose id is the topic's name.
    pub fn broadcast(&self, broadcast: Broadcast) {
        if let Some(other_nodes) = self.other_nodes() {
            other_nodes.broadcast(&broadcast);
        }
        self.deliver(broadcast);
    }

    /// The same, only at this node: what other nodes say themselves, such as the changes of presences.
    pub fn deliver(&self, broadcast: Broadcast) {
        Traffic::Broadcasts.add(1);
        self.deliver_as(broadcast, false);
    }

    /// Delivers a broadcast that was made at another node to the subscribers at this one.
    pub fn deliver_from_elsewhere(&self, broadcast: Broadcast) {
        self.deliver_as(broadcast, true);
    }

    fn deliver_as(&self, broadcast: Broadcast, is_from_elsewhere: bool) {
        if &*broadcast.event == names::DISCONNECT {
            self.disconnect_here(broadcast.topic.as_str());
        }
        let Some(audience) = self.audience(broadcast.topic.as_str()) else {
            return self.events.broadcast(&broadcast, is_from_elsewhere);
        };
        let interceptor = self.interceptor.get();
        let handling = interceptor.map(|interceptor| interceptor.intercept(&broadcast, &audience));
        audience.broadcast(broadcast, Handling { is_from_elsewhere, ..handling.unwrap_or_default() }, self);
    }

    /// Delivers a change of a topic's published state to all current subscribers. Returns whether a subscriber may
    /// still lack the current state.
    pub fn update_state(&self, update: StateUpdate) -> bool {
        self.audience(update.topic.as_str()).is_some_and(|audience| audience.update_state(update))
    }

    /// Delivers the changes of a topic's published entries to the members that follow them. Returns whether one of the
    /// members has missed the changes, or may still miss them.
    pub fn update_entries(&self, update: EntriesUpdate) -> bool {
        self.audience(update.topic.as_str()).is_some_and(|audience| audience.update_entries(update))
    }

    /// Returns the audience of a topic, if the topic has a subscriber, an observer or a history.
    #[must_use]
    pub fn audience(&self, topic: &str) -> Option<Arc<Audience>> {
        self.topics.get(topic).map(|audience| Arc::clone(&audience))
    }

    /// Returns the topic with this name. It shares the text of the registered topic, if there is one.
    #[must_use]
    pub fn topic(&self, name: &str) -> Topic {
        self.topics.get(name).map_or_else(|| Topic::new(name), |entry| entry.key().clone())
    }

    /// Adds a subscriber to a topic, and pushes `first` into its outbox under the same lock. No broadcast comes before
    /// `first`. The subscriber gets every broadcast that is made after its client received `first`.
    pub fn subscribe(&self, topic: &Topic, subscriber: &Subscriber, first: Option<&Frame>) -> Subscription {
        self.subscribe_again(topic, subscriber, first, None)
    }

    /// The same for a topic with a history. The client gets what it has missed after `first`, and before any broadcast that
    /// is made from now on.
    pub fn subscribe_again(
        &self,
        topic: &Topic,
        subscriber: &Subscriber,
        first: Option<&Frame>,
        rejoin: Option<&Rejoin<'_>>,
    ) -> Subscription {
        loop {
            let audience = self.enter(topic);
            if let Some(key) = audience.add((self, topic), subscriber.clone(), first, rejoin) {
                return Subscription { topic: topic.clone(), audience, key };
            }
            // The last subscriber left in the meantime, and this audience is closed. Remove it, so that the next
            // `enter` makes a new one.
            self.forget(topic, &audience);
        }
    }

    /// Removes a subscriber.
    pub fn unsubscribe(&self, subscription: &Subscription) {
        if subscription.audience.remove((self, &subscription.topic), subscription.key) {
            self.forget(&subscription.topic, &subscription.audience);
        }
    }

    /// Adds an observer of a topic. It is called until the returned handle is dropped.
    #[must_use = "the observer is removed when this is dropped"]
    pub fn subscribe_observer(
        self: &Arc<Self>,
        topic: &Topic,
        id: u64,
        observer: &Arc<dyn BroadcastObserver>,
    ) -> TopicSubscriptionHandle {
        loop {
            let audience = self.enter(topic);
            if let Some(key) = audience.add_observer(id, Arc::clone(observer)) {
                return TopicSubscriptionHandle { pubsub: Arc::clone(self), topic: topic.clone(), audience, key };
            }
            self.forget(topic, &audience);
        }
    }

    /// A member has joined a topic, or ended. The audience is locked.
    fn note_member(&self, topic: &Topic, member: &Arc<dyn Any + Send + Sync>, has_joined: bool) {
        self.events.member(topic, member, has_joined);
        if let Some(other_nodes) = self.other_nodes() {
            other_nodes.member(topic, has_joined, &|| self.events.describe(member));
        }
    }

    /// Registers an open socket under its id.
    #[must_use = "the socket is registered until this is dropped"]
    pub fn name(&self, id: &str, outbox: &Arc<Outbox>) -> Named {
        self.names.enter(id, outbox)
    }

    /// Closes every socket with this id, at all nodes of the cluster, so that its client connects again. Returns the number of
    /// sockets at this node.
    pub fn disconnect(&self, id: &str) -> usize {
        if let Some(other_nodes) = self.other_nodes() {
            other_nodes.disconnect(id);
        }
        self.disconnect_here(id)
    }

    /// The same, only at this node.
    pub fn disconnect_here(&self, id: &str) -> usize {
        self.names.disconnect(id)
    }

    /// Returns every topic that has subscribers, with their number.
    #[must_use]
    pub fn topics(&self) -> Vec<(Topic, usize)> {
        let found = self.topics.iter().map(|entry| (entry.key().clone(), entry.value().len()));
        found.filter(|(_, members)| *members > 0).collect()
    }

    /// Returns up to `limit` topics that begin with `prefix` and come after `after`, in order. Each has subscribers,
    /// and comes with their number.
    #[must_use]
    pub fn topics_under(&self, prefix: &str, after: Option<&str>, limit: usize) -> Vec<(Topic, usize)> {
        let mut from = match after {
            Some(after) if after >= prefix => Bound::Excluded(Topic::new(after)),
            _ => Bound::Included(Topic::new(prefix)),
        };
        let mut found = Vec::new();
        // The count needs locks that must not be taken under the index's lock. So the names are copied first. Topics
        // without a subscriber are skipped.
        while found.len() < limit {
            let names = self.names_from(prefix, &from, limit - found.len());
            let Some(last) = names.last() else { break };
            from = Bound::Excluded(last.clone());
            let counted = names.into_iter().filter_map(|topic| {
                let members = self.audience(topic.as_str())?.len();
                (members > 0).then_some((topic, members))
            });
            found.extend(counted);
        }
        found
    }

    fn names_from(&self, prefix: &str, from: &Bound<Topic>, limit: usize) -> Vec<Topic> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let names = index.range((from.clone(), Bound::Unbounded));
        names.take_while(|topic| topic.as_str().starts_with(prefix)).take(limit).cloned().collect()
    }

    /// Whether no broadcast waits for a decision about it.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.topics.iter().all(|audience| audience.is_idle())
    }

    /// Returns the number of topics that have a subscriber, an observer or a history.
    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// Returns the topic's audience, and creates it if there is none.
    fn enter(&self, topic: &Topic) -> Arc<Audience> {
        let make = || {
            self.index.write().unwrap_or_else(PoisonError::into_inner).insert(topic.clone());
            Arc::new(Audience::new(&self.droppable))
        };
        Arc::clone(&self.topics.entry(topic.clone()).or_insert_with(make))
    }

    fn forget(&self, topic: &Topic, gone: &Arc<Audience>) {
        self.topics.remove_if(topic, |_, audience| {
            let is_it = Arc::ptr_eq(audience, gone);
            if is_it {
                self.index.write().unwrap_or_else(PoisonError::into_inner).remove(topic);
            }
            is_it
        });
    }
}
