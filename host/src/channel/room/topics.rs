//! Topics: for each one that is in use, its turn queue and its room.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytestring::ByteString;
use dashmap::DashMap;
use dashmap::mapref::multiple::RefMulti;

use super::answers::Answers;
use super::idle::IdleRooms;
use super::in_flight::InFlightByPlugin;
use super::room::Room;
use crate::channel::turn::{Drain, Job, Saved, Services, TurnQueue};
use crate::contract::limits::NodeLimits;
use crate::contract::{PendingSeatChanges, SeatChange};
use crate::counts::{HighWater, Limit};
use crate::entries::{AppliedEntries, PendingEntries, PublishedChange, TopicEntries};
use crate::protocol::Topic;
use crate::routes::Route;

/// All topics of a host, and what they share.
pub(in crate::channel) struct Topics {
    pub(in crate::channel) services: Services,
    pub(in crate::channel::room) idle: Arc<IdleRooms>,
    pub(in crate::channel::room) in_flight: InFlightByPlugin,
    pub(in crate::channel) answers: Answers,
    topics: DashMap<Topic, Weak<TopicTurns>>,
}

/// A topic's own turns: their queue, and the room that they share. It exists while a member in its queue, a job or a
/// timer holds it.
pub(in crate::channel) struct TopicTurns {
    pub(in crate::channel) topics: Arc<Topics>,
    pub(in crate::channel) name: Topic,
    queue: Arc<TurnQueue<Box<dyn Job>>>,
    /// The room, while it is open. Only turns of the queue change it. The lock is for code that reads it meanwhile.
    /// A published state is delivered under it, so that none overtakes another. It is never held across an await.
    room: Mutex<Option<Box<Room>>>,
    /// The changes of seats that are not yet passed to `handle_seat`. No other lock is taken under this one.
    seat_changes: Mutex<PendingSeatChanges>,
    /// The messages that wait. No other lock is taken under this one.
    waiting: Mutex<WaitingMessages>,
}

/// Messages that wait in a topic's queue.
#[derive(Clone, Copy, Default)]
pub(in crate::channel::room) struct WaitingMessages {
    pub(in crate::channel::room) count: usize,
    pub(in crate::channel::room) bytes: usize,
}

impl Topics {
    pub(in crate::channel) fn new(services: Services) -> Self {
        Self {
            services,
            idle: Arc::default(),
            in_flight: InFlightByPlugin::default(),
            answers: Answers::default(),
            topics: DashMap::new(),
        }
    }

    /// The topic of this name.
    pub(in crate::channel) fn of(self: &Arc<Self>, name: &Topic) -> Arc<TopicTurns> {
        let mut entry = self.topics.entry(name.clone()).or_default();
        entry.upgrade().unwrap_or_else(|| {
            let topic = Arc::new(TopicTurns {
                topics: Arc::clone(self),
                name: name.clone(),
                queue: Arc::default(),
                room: Mutex::default(),
                seat_changes: Mutex::default(),
                waiting: Mutex::default(),
            });
            *entry = Arc::downgrade(&topic);
            topic
        })
    }

    /// Whether the queue of a topic, and the limits of its plugin, have room for `count` more messages of `bytes`
    /// together.
    pub(in crate::channel) fn has_room(&self, name: &Topic, count: usize, bytes: usize) -> bool {
        let more = WaitingMessages { count, bytes };
        // Without a route, nothing is delivered.
        let plugin = self.services.routes.find(name.as_str()).map(|route| Arc::clone(&route.plugin));
        let topic = self.topics.get(name).and_then(|topic| topic.upgrade());
        plugin.is_none_or(|plugin| self.in_flight.of(&plugin).has_room(count, bytes))
            && topic.is_none_or(|topic| topic.waiting().has_room(more, &self.services.limits))
    }

    /// All topics that are in use.
    pub(in crate::channel) fn all(&self) -> Vec<Arc<TopicTurns>> {
        self.topics.iter().filter_map(|entry: RefMulti<'_, Topic, Weak<TopicTurns>>| entry.value().upgrade()).collect()
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        self.topics.len()
    }
}

impl TopicTurns {
    pub(in crate::channel) fn services(&self) -> &Services {
        &self.topics.services
    }

    /// Adds a job. Every job of a topic is posted here, also those of its members. Returns the drain of the queue if
    /// nobody drains it.
    pub(in crate::channel) fn post(&self, job: Box<dyn Job>) -> Option<Drain<Box<dyn Job>>> {
        self.queue.post(job)
    }

    /// Whether a room is open.
    pub(in crate::channel) fn is_room_open(&self) -> bool {
        self.room().is_some()
    }

    /// Whether the open room belongs to the plugin of this route.
    pub(in crate::channel) fn is_room_of(&self, route: &Route) -> bool {
        self.room().as_ref().is_some_and(|room| room.is_of(route))
    }

    /// The room's state as last committed.
    pub(in crate::channel) fn saved_room(&self) -> Option<Saved> {
        self.room().as_ref().and_then(|room| room.saved().cloned())
    }

    /// The entries of the room, if a call of this route may use them.
    pub(in crate::channel) fn entries(&self, route: &Route) -> Option<Arc<TopicEntries>> {
        // Most plugins have no entries, and their turns don't take the lock for them.
        if !route.has_entries() {
            return None;
        }
        self.room().as_ref().and_then(|room| room.entries().cloned())
    }

    /// Commits the changes of a call: another state of the room, and changed entries. `is_stored` says whether the store
    /// already has them. Returns the changes of published entries.
    #[must_use = "the members get the changes of published entries"]
    pub(in crate::channel) fn save(
        &self,
        saved: Option<Saved>,
        entries: Option<Box<PendingEntries>>,
        is_stored: bool,
    ) -> Vec<PublishedChange> {
        if saved.is_none() && entries.is_none() {
            return Vec::new();
        }
        // Under one lock, so that no reader finds the state without the entries.
        let mut room = self.room();
        let Some(room) = room.as_mut() else { return Vec::new() };
        let AppliedEntries { published, given_up } = room.save(saved, entries, is_stored);
        if let Some(given_up) = given_up {
            room.give_up_rollback(&self.name, given_up);
        }
        published
    }

    /// Whether the room publishes the entries that the route publishes.
    pub(in crate::channel) fn publishes_as(&self, route: &Route) -> bool {
        self.room().as_mut().is_none_or(|room| room.publishes_as(route))
    }

    /// Whether a member waits for a whole state of published entries until the end of this turn.
    pub(in crate::channel) fn are_entries_awaited(&self) -> bool {
        let mut room = self.room();
        room.as_mut().and_then(|room| room.published_entries()).is_some_and(|published| published.is_awaited)
    }

    /// Whether the probation under which the room was upgraded has ended, and its end isn't applied yet.
    pub(in crate::channel) fn is_room_to_settle(&self) -> bool {
        self.room().as_ref().and_then(|room| room.saved()).is_some_and(Saved::needs_settling)
    }

    /// Whether commits of the room wait to be stored, and may be stored now.
    pub(in crate::channel) fn is_room_overdue(&self) -> bool {
        self.room().as_ref().is_some_and(|room| room.is_overdue())
    }

    /// Returns the route of the topic, if another generation of the plugin serves it now, and with a room as before.
    pub(in crate::channel) fn switched_route(&self, from: &Route) -> Option<Arc<Route>> {
        let route = self.services().routes.find(self.name.as_str())?;
        let is_its = route.plugin == from.plugin && route.spec.has_room() == from.spec.has_room();
        (is_its && route.generation != from.generation).then_some(route)
    }

    /// Whether commits of the room aren't stored, though it is durable.
    pub(in crate::channel) fn is_room_unstored(&self) -> bool {
        self.room().as_ref().is_some_and(|room| room.is_durable() && room.unstored().is_some())
    }

    /// A tick succeeded, or failed. Returns the number of failures in a row.
    pub(in crate::channel) fn count_tick(&self, has_failed: bool) -> u32 {
        self.room().as_mut().map_or(0, |room| room.count_tick(has_failed))
    }

    /// Takes the changes of a seat, for the turn that passes them to the plugin.
    pub(in crate::channel) fn take_seat_changes(&self, name: &ByteString) -> Vec<SeatChange> {
        let mut pending = self.seat_changes();
        let changes = pending.take(name);
        if pending.is_empty() {
            // A topic whose seats don't change keeps no memory for changes.
            *pending = PendingSeatChanges::default();
        }
        changes
    }

    // No panic can leave the data under one of these locks half changed, so a poisoned lock is used like any other.

    pub(in crate::channel::room) fn room(&self) -> MutexGuard<'_, Option<Box<Room>>> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::channel::room) fn seat_changes(&self) -> MutexGuard<'_, PendingSeatChanges> {
        self.seat_changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::channel::room) fn waiting(&self) -> MutexGuard<'_, WaitingMessages> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TopicTurns {
    fn drop(&mut self) {
        // A topic of this name that was made in the meantime is in use, and stays.
        self.topics.topics.remove_if(&self.name, |_, topic| topic.strong_count() == 0);
    }
}

impl WaitingMessages {
    /// Counts messages, if the limits allow them to wait.
    pub(in crate::channel::room) fn add(&mut self, more: Self, limits: &NodeLimits) -> bool {
        let has_room = self.has_room(more, limits);
        if has_room {
            *self = Self { count: self.count + more.count, bytes: self.bytes + more.bytes };
            HighWater::TopicMessages.note(self.count);
        } else {
            let is_many = self.count + more.count > limits.from_elsewhere;
            if is_many { Limit::MailboxFromElsewhere } else { Limit::MailboxBytesFromElsewhere }.hit();
        }
        has_room
    }

    pub(in crate::channel::room) fn remove(&mut self, handled: Self) {
        *self = Self { count: self.count - handled.count, bytes: self.bytes - handled.bytes };
    }

    /// Whether `more` may wait in addition.
    pub(in crate::channel::room) fn has_room(self, more: Self, limits: &NodeLimits) -> bool {
        // A single message is always taken: its sender has limits of its own.
        let fits = self.count == 0 || self.bytes.saturating_add(more.bytes) <= limits.bytes_from_elsewhere;
        fits && self.count + more.count <= limits.from_elsewhere
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Http;
    use crate::presence::{Pace, Presence};
    use crate::pubsub::PubSub;
    use crate::store::{Store, StoreLimits};

    #[test]
    fn a_topic_is_shared_while_it_is_in_use_and_then_removed() {
        let pubsub = Arc::new(PubSub::new());
        let presence = Arc::new(Presence::new(&pubsub, "local", 0, Pace::default()));
        let store = Store::in_memory(StoreLimits::default()).expect("a store in memory");
        let (limits, http) = (NodeLimits::default(), Http::none());
        let services = Services::new(Arc::default(), pubsub, presence, store, limits, Arc::default(), http);
        let topics = Arc::new(Topics::new(services));
        let name = Topic::new("room:a");
        let (first, second) = (topics.of(&name), topics.of(&name));
        assert!(Arc::ptr_eq(&first, &second));
        drop(first);
        assert_eq!(topics.count(), 1);
        drop(second);
        assert_eq!(topics.count(), 0);
    }
}
