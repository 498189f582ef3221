//! Time on a stage: what comes due, in its order.

use std::time::Duration;

use super::super::{Sent, timers};
use super::World;
use crate::Message;

/// What comes next in time. Of what comes at once, the first of these is the first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    /// A member's timer.
    Timer(u64),
    /// A topic's beat.
    Beat(String),
    /// The end of a topic's seat to which nobody has come back.
    Seat(String, String),
    /// What has waited of a topic's presences.
    Presences(String),
    /// A room's end.
    End(String),
}

impl World {
    /// Time passes: timers ring, topics beat, seats and rooms end, in their order.
    pub(in crate::testing) fn advance(&mut self, time: Duration) {
        let until = self.facts.now.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        while let Some((due, next)) = self.next().filter(|(due, _)| *due <= until) {
            self.facts.now = self.facts.now.max(due);
            match next {
                Next::Timer(id) => self.ring(id, due),
                Next::Beat(topic) => self.beat(&topic),
                Next::Seat(topic, name) => self.expire_seat(&topic, &name),
                Next::Presences(topic) => self.flush_presences(&topic),
                Next::End(topic) => self.close_room(&topic),
            }
            self.end_turn();
            self.settle();
        }
        self.facts.now = until;
    }

    fn next(&self) -> Option<(u64, Next)> {
        let roles = self.roles.iter().filter(|(_, role)| role.is_in);
        let timers = roles.flat_map(|(id, role)| role.timers.iter().map(|timer| (timer.due, Next::Timer(*id))));
        let beats = self.beats().map(|(due, topic)| (due, Next::Beat(topic.clone())));
        let ends = self.ends().map(|(due, topic)| (due, Next::End(topic.clone())));
        let seats = self.kept_seats().map(|(due, topic, name)| (due, Next::Seat(topic.clone(), name.clone())));
        let presences = self.windows.iter().filter_map(|(topic, window)| Some((window.due()?, topic)));
        let presences = presences.map(|(due, topic)| (due, Next::Presences(topic.clone())));
        timers.chain(beats).chain(seats).chain(presences).chain(ends).min()
    }

    fn ring(&mut self, id: u64, until: u64) {
        let Some(role) = self.roles.get_mut(&id) else { return };
        if let Some(timer) = timers::take_due(&mut role.timers, until) {
            let (topic, Sent { event, payload }) = (role.topic.clone(), timer.sent);
            self.info(id, Message { source: "self".into(), topic, event, payload });
        }
    }
}
