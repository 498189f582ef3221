//! Seats that members lose, and seats whose grace period ends.

use std::time::Duration;

use bennu_semantics::{Departure, SeatChange, Topic, TopicCallback};
use bytestring::ByteString;

use super::World;
use crate::Callbacks;

impl<C: Callbacks> World<C> {
    /// A member loses its seat.
    pub(super) fn rise(&mut self, id: u64, departure: Departure) {
        let now = Duration::from_millis(self.host.now);
        let Some(role) = self.roles.get_mut(&id) else { return };
        let (topic, Some(name)) = (role.topic.clone(), role.seat.take()) else { return };
        let vacated = self.room_mut(&topic).and_then(|room| room.seats.vacate(&name, id, departure, now));
        self.tell_seat(&topic, &name, vacated.map(|(change, _)| change));
    }

    /// The ends of all grace periods, in milliseconds since 1970.
    pub(super) fn kept_seats(&self) -> impl Iterator<Item = (u64, &Topic, &ByteString)> {
        self.rooms().flat_map(|(topic, room)| {
            let millis = |until: Duration| u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
            room.seats.kept().map(move |(until, name)| (millis(until), topic, name))
        })
    }

    /// Ends a seat whose grace period is over.
    pub(super) fn expire_seat(&mut self, topic: &Topic, name: &ByteString) {
        let now = Duration::from_millis(self.host.now);
        if self.room_mut(topic).is_some_and(|room| room.seats.expire(name, now)) {
            self.change_seat(topic, name, SeatChange::Gone);
        }
    }

    /// Calls a topic's `handle_seat`.
    pub(super) fn change_seat(&mut self, topic: &Topic, name: &ByteString, change: SeatChange) {
        self.open_room(topic);
        // A fault is already in the list of faults.
        let _ = self.topic_turn(topic, TopicCallback::Seat { name: name.clone(), change });
        self.rest(topic);
    }
}
