//! The clock, and the events when it advances.

use std::time::Duration;

use bennu_semantics::{Message, Source, Topic};
use bytestring::ByteString;

use super::World;
use crate::{Callbacks, Sent, take_due};

/// The next event. Events at the same time happen in the order of the variants.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    /// A member's timer.
    Timer(u64),
    /// A schedule of a topic.
    Schedule(Topic, Box<str>),
    /// A delivery, by its place among all.
    Delivery(usize),
    /// A topic's tick.
    Tick(Topic),
    /// The end of a seat's grace period.
    Seat(Topic, ByteString),
    /// The end of a topic's window of presence diffs.
    Presences(Topic),
    /// A room's end.
    End(Topic),
}

impl<C: Callbacks> World<C> {
    /// Advances the clock: timers and schedules fire, deliveries are sent, topics tick, seats and rooms end, in their order.
    pub fn advance(&mut self, time: Duration) {
        let until = self.host.now.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        while let Some((due, next)) = self.next().filter(|(due, _)| *due <= until) {
            self.host.now = self.host.now.max(due);
            match next {
                Next::Timer(id) => self.fire(id, due),
                Next::Schedule(topic, key) => self.fire_schedule(&topic, &key),
                Next::Delivery(at) => self.send_delivery(at, due),
                Next::Tick(topic) => self.tick_due(&topic),
                Next::Seat(topic, name) => self.expire_seat(&topic, &name),
                Next::Presences(topic) => self.flush_presences(&topic),
                Next::End(topic) => self.close_room(&topic),
            }
            self.end_turn();
            self.settle();
        }
        self.host.now = until;
    }

    fn next(&self) -> Option<(u64, Next)> {
        let roles = self.roles.iter().filter(|(_, role)| role.is_in);
        let timers =
            roles.flat_map(|(id, role)| role.resources.timers.iter().map(|timer| (timer.due, Next::Timer(*id))));
        let ticks = self.ticks().map(|(due, topic)| (due, Next::Tick(topic.clone())));
        let ends = self.ends().map(|(due, topic)| (due, Next::End(topic.clone())));
        let seats = self.kept_seats().map(|(due, topic, name)| (due, Next::Seat(topic.clone(), name.clone())));
        let in_ms = |due: Duration| u64::try_from(due.as_millis()).unwrap_or(u64::MAX);
        let presences = self.windows.iter().filter_map(|(topic, window)| Some((in_ms(window.due()?), topic)));
        let presences = presences.map(|(due, topic)| (due, Next::Presences(topic.clone())));
        // A schedule waits while no channel serves its topic.
        let schedules = self.host.stored.schedules.iter().filter(|(topic, ..)| self.spec(topic).is_some());
        let schedules =
            schedules.filter_map(|(topic, key, row)| Some((row.next_ms?, Next::Schedule(topic.clone(), key.into()))));
        let deliveries = self.host.stored.deliveries.next().map(|(due, at)| (due, Next::Delivery(at)));
        timers.chain(schedules).chain(deliveries).chain(ticks).chain(seats).chain(presences).chain(ends).min()
    }

    fn fire(&mut self, id: u64, until: u64) {
        let Some(role) = self.roles.get_mut(&id) else { return };
        if let Some(timer) = take_due(&mut role.resources.timers, until, |timer| (timer.due, timer.id)) {
            let (topic, Sent { event, payload }) = (role.topic.clone(), timer.sent);
            self.info(id, Message { source: Source::Own, topic, event, payload });
        }
    }
}
