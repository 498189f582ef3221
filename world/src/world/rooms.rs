//! Rooms: the shared state of topics, with its tick, seats and published state.

use std::time::Duration;

use bennu_semantics::entries::{Followed, Views};
use bennu_semantics::{Ending, Fault, Published, RoomKind, RouteSpec, Seats, Tick, Topic, TopicCallback};

use super::World;
use crate::{Callbacks, Entries, PendingEntries, Saved, StateSnapshot};

/// A topic's room.
#[derive(Default)]
pub(super) struct Room {
    /// `None` if no callback has written it yet.
    saved: Option<Saved>,
    entries: Entries,
    timer: Option<TickTimer>,
    pub(super) seats: Seats<Duration>,
    pub(super) published: Option<Published>,
    /// The views of its published entries.
    pub(super) views: Views,
    /// Consecutive faults of `handle_tick`.
    faults: u32,
    /// The end of its linger time, while it has no member.
    ends: Option<u64>,
    /// Whether it ends together with its last member, without a linger time.
    is_given_up: bool,
}

/// A running tick.
#[derive(Clone, Copy, Debug)]
struct TickTimer {
    period: u64,
    began: u64,
    /// The number of ticks so far.
    number: u64,
}

impl TickTimer {
    fn due(&self) -> u64 {
        self.began.saturating_add(self.period.saturating_mul(self.number + 1))
    }
}

impl Room {
    /// Whether it publishes entries.
    pub(super) fn publishes_entries(&self) -> bool {
        !self.entries.publishes().is_empty()
    }

    /// The text of the object of the published entries that a member follows, or of all of them.
    pub(super) fn whole(&self, followed: Option<&Followed>) -> String {
        self.entries.whole(followed)
    }

    /// Whether a callback has written its state or an entry.
    fn is_written(&self) -> bool {
        self.saved.is_some() || !self.entries.is_empty()
    }
}

impl<C: Callbacks> World<C> {
    /// Opens the topic's room, if its route has rooms and it isn't open.
    pub(super) fn open_room(&mut self, topic: &Topic) {
        if self.spec(topic).is_some_and(RouteSpec::has_room) {
            self.rooms.entry(topic.clone()).or_default();
        }
    }

    fn saved_room(&self, topic: &Topic) -> Option<Saved> {
        self.rooms.get(topic)?.saved.clone()
    }

    /// The entries of a topic, if it has an open room and its route has entries.
    #[must_use]
    pub fn entries(&self, topic: &str) -> Option<&Entries> {
        let topic = Topic::new(topic);
        let has_entries = self.spec(&topic).is_some_and(RouteSpec::has_room);
        self.rooms.get(&topic).filter(|_| has_entries).map(|room| &room.entries)
    }

    /// The states for a callback of a topic. A member's callback also has assigns.
    pub(super) fn states(&self, topic: &Topic, assigns: Option<Saved>) -> StateSnapshot {
        let entries = self.entries(topic.as_str()).cloned();
        StateSnapshot { assigns, room: self.saved_room(topic), entries }
    }

    /// Commits a room's state, and the changes of its entries. Members get the changes of published entries.
    pub(super) fn save_room(&mut self, topic: &Topic, saved: Option<Saved>, entries: Option<PendingEntries>) {
        if let Some(room) = self.rooms.get_mut(topic) {
            room.saved = saved;
            let changes = entries.map_or_else(Vec::new, PendingEntries::apply);
            self.publish_entries(topic, &changes);
        }
    }

    /// Publishes the entries that the topic's route publishes. If these are others than before, the members get them.
    pub(super) fn settle_published(&mut self, topic: &Topic) {
        let Some(publishes) = self.spec(topic).map(|spec| spec.publishes.clone()) else { return };
        let entries = self.entries(topic.as_str()).cloned();
        // If an entry can't be published, the call ends in this fault.
        if entries.is_some_and(|entries| entries.publish(&publishes) == Ok(true)) {
            self.show_all_entries(topic);
        }
    }

    /// Sets the topic's tick period. A tick with the same period continues.
    pub(super) fn set_tick(&mut self, topic: &Topic, period: Option<Duration>) {
        let began = self.host.now;
        let Some(room) = self.rooms.get_mut(topic).filter(|room| !room.is_given_up) else { return };
        let Some(period) = period else { return room.timer = None };
        let period = u64::try_from(period.as_millis()).unwrap_or(u64::MAX);
        if room.timer.is_none_or(|timer| timer.period != period) {
            room.timer = Some(TickTimer { period, began, number: 0 });
        }
    }

    /// After a turn: a room without members ends, at once or after its linger time, unless a seat is in its grace
    /// period.
    pub(super) fn rest(&mut self, topic: &Topic) {
        let linger = self.spec(topic).filter(|spec| spec.has_room()).map_or(Duration::ZERO, |spec| spec.linger);
        let linger = u64::try_from(linger.as_millis()).unwrap_or(u64::MAX);
        let (has_members, now) = (self.members(topic).next().is_some(), self.host.now);
        let Some(room) = self.rooms.get_mut(topic) else { return };
        if has_members || (room.seats.are_kept() && !room.is_given_up) {
            room.ends = None;
        } else if room.is_given_up || linger == 0 || (room.timer.is_none() && !room.is_written()) {
            // A room that was never written and has no tick isn't kept.
            self.close_room(topic);
        } else {
            room.ends.get_or_insert(now.saturating_add(linger));
        }
    }

    /// Ends a room. The state and the entries of a durable room stay stored, for the next room of the topic.
    pub(super) fn close_room(&mut self, topic: &Topic) {
        let is_durable = self.spec(topic).is_some_and(|spec| spec.room == RoomKind::Durable);
        if let Some(room) = self.rooms.remove(topic).filter(|_| is_durable) {
            self.rooms.insert(topic.clone(), Room { saved: room.saved, entries: room.entries, ..Room::default() });
        }
    }

    /// The rooms, by topic.
    pub(super) fn rooms(&self) -> impl Iterator<Item = (&Topic, &Room)> {
        self.rooms.iter()
    }

    pub(super) fn room_mut(&mut self, topic: &Topic) -> Option<&mut Room> {
        self.rooms.get_mut(topic)
    }

    /// The time of each topic's next tick.
    pub(super) fn ticks(&self) -> impl Iterator<Item = (u64, &Topic)> {
        self.rooms.iter().filter_map(|(topic, room)| Some((room.timer?.due(), topic)))
    }

    pub(super) fn ends(&self) -> impl Iterator<Item = (u64, &Topic)> {
        self.rooms.iter().filter_map(|(topic, room)| Some((room.ends?, topic)))
    }

    /// Runs the next tick of a topic.
    pub(super) fn tick_due(&mut self, topic: &Topic) {
        let timer = self.rooms.get_mut(topic).and_then(|room| room.timer.as_mut());
        let Some(timer) = timer else { return };
        timer.number += 1;
        let tick = Tick { number: timer.number, missed: 0, period: Duration::from_millis(timer.period) };
        // A fault is already in the list of faults.
        let _ = self.tick_now(topic, tick);
    }

    /// Runs one tick at once. The ticks that a channel asked for run by themselves when the clock
    /// [advances](Self::advance).
    ///
    /// # Errors
    /// If the callback ends in a fault, or no route serves the topic. After a number of consecutive faults the topic's
    /// members end.
    pub fn tick(&mut self, topic: &str, tick: Tick) -> Result<(), Fault> {
        let ticked = self.tick_now(&Topic::new(topic), tick);
        self.end_turn();
        self.settle();
        ticked
    }

    fn tick_now(&mut self, topic: &Topic, tick: Tick) -> Result<(), Fault> {
        self.served(topic)?;
        self.open_room(topic);
        let ticked = self.topic_turn(topic, TopicCallback::Tick(tick));
        match &ticked {
            Ok(_) => self.rooms.get_mut(topic).into_iter().for_each(|room| room.faults = 0),
            Err(fault) => self.tick_failed(topic, fault),
        }
        self.rest(topic);
        ticked.map(drop)
    }

    fn tick_failed(&mut self, topic: &Topic, fault: &Fault) {
        let most = self.spec(topic).filter(|spec| spec.has_room()).map_or(0, |spec| spec.tick_faults);
        let Some(room) = self.rooms.get_mut(topic) else { return };
        room.faults += 1;
        if most == 0 || room.faults < most {
            return;
        }
        (room.is_given_up, room.timer) = (true, None);
        let members: Vec<u64> = self.members(topic).collect();
        members.into_iter().for_each(|id| self.end(id, Ending::Fault(fault.kind), None));
    }
}
