//! Rooms on a stage: a topic's shared state, what goes with it, and the while that all of it outlives the last member.

use std::time::Duration;

use super::super::Fault;
use super::super::saved::Saved;
use super::World;
use super::published::Published;
use super::seats::Seats;
use crate::bindings::bennu::channel::types::Outcome;
use crate::{Answer, Tick};

/// A topic's shared state, and what goes with it.
#[derive(Clone, Debug, Default)]
pub(super) struct Room {
    /// None where nobody has written it yet.
    saved: Option<Saved>,
    beat: Option<TickTimer>,
    pub(super) seats: Seats,
    pub(super) published: Option<Published>,
    /// Faults of `handle_tick` in a row.
    faults: u32,
    /// When it ends, if nobody comes until then.
    ends: Option<u64>,
    /// Whether it ends with its last member, and without a while longer.
    is_given_up: bool,
}

/// A beat that goes on.
#[derive(Clone, Copy, Debug)]
struct TickTimer {
    period: u64,
    began: u64,
    /// How many there were.
    number: u64,
}

impl TickTimer {
    fn due(&self) -> u64 {
        self.began.saturating_add(self.period.saturating_mul(self.number + 1))
    }
}

impl World {
    /// Opens the topic's room, if its route has one and it isn't open.
    pub(super) fn open_room(&mut self, topic: &str) {
        if self.room_terms(topic).is_some() {
            self.rooms.entry(topic.into()).or_default();
        }
    }

    pub(super) fn saved_room(&self, topic: &str) -> Option<Saved> {
        self.rooms.get(topic)?.saved.clone()
    }

    pub(super) fn save_room(&mut self, topic: &str, saved: Option<Saved>) {
        if let Some(room) = self.rooms.get_mut(topic) {
            room.saved = saved;
        }
    }

    /// Sets the topic's beat. One of the same period goes on.
    pub(super) fn set_beat(&mut self, topic: &str, period: Duration) {
        let (began, period) = (self.facts.now, u64::try_from(period.as_millis()).unwrap_or(u64::MAX));
        let Some(room) = self.rooms.get_mut(topic).filter(|room| !room.is_given_up) else { return };
        match room.beat {
            _ if period == 0 => room.beat = None,
            Some(beat) if beat.period == period => {}
            _ => room.beat = Some(TickTimer { period, began, number: 0 }),
        }
    }

    /// After a turn: a room without members ends, at once or in a while, but for one in which a seat is kept.
    pub(super) fn rest(&mut self, topic: &str) {
        let linger = self.room_terms(topic).map_or(Duration::ZERO, |terms| terms.linger);
        let linger = u64::try_from(linger.as_millis()).unwrap_or(u64::MAX);
        let (has_members, now) = (self.members(topic).next().is_some(), self.facts.now);
        let Some(room) = self.rooms.get_mut(topic) else { return };
        if has_members || (room.seats.are_kept() && !room.is_given_up) {
            room.ends = None;
        } else if room.is_given_up || linger == 0 || (room.saved.is_none() && room.beat.is_none()) {
            // Nothing that was never written, and doesn't beat, is kept for anybody.
            self.close_room(topic);
        } else {
            room.ends.get_or_insert(now.saturating_add(linger));
        }
    }

    /// Ends a room. The state of a durable one is there again when it opens.
    pub(super) fn close_room(&mut self, topic: &str) {
        let is_durable = self.room_terms(topic).is_some_and(|terms| terms.is_durable);
        if let Some(room) = self.rooms.remove(topic).filter(|_| is_durable) {
            self.rooms.insert(topic.into(), Room { saved: room.saved, ..Room::default() });
        }
    }

    /// The rooms, by topic.
    pub(super) fn rooms(&self) -> impl Iterator<Item = (&String, &Room)> {
        self.rooms.iter()
    }

    pub(super) fn room_mut(&mut self, topic: &str) -> Option<&mut Room> {
        self.rooms.get_mut(topic)
    }

    /// When each beat comes, and when each room ends, by topic.
    pub(super) fn beats(&self) -> impl Iterator<Item = (u64, &String)> {
        self.rooms.iter().filter_map(|(topic, room)| Some((room.beat?.due(), topic)))
    }

    pub(super) fn ends(&self) -> impl Iterator<Item = (u64, &String)> {
        self.rooms.iter().filter_map(|(topic, room)| Some((room.ends?, topic)))
    }

    /// The next beat of a topic has come.
    pub(super) fn beat(&mut self, topic: &str) {
        let beat = self.rooms.get_mut(topic).and_then(|room| room.beat.as_mut());
        let Some(beat) = beat else { return };
        beat.number += 1;
        let period_ms = u32::try_from(beat.period).unwrap_or(u32::MAX);
        let tick = Tick { number: beat.number, missed: 0, period_ms };
        // What went wrong is among the faults.
        let _ = self.tick(topic, tick);
    }

    /// Has a topic's `handle_tick` called.
    ///
    /// # Errors
    ///
    /// It ends in a fault. After so many in a row the topic's members end.
    pub(in crate::testing) fn tick(&mut self, topic: &str, tick: Tick) -> Result<(), Fault> {
        let call = self.route(topic)?.handle_tick;
        self.open_room(topic);
        let ticked = self.topic_turn(topic, |room| {
            let room = call(topic.into(), &tick, room)?;
            Ok(Outcome { assigns: None, room, answer: Answer::None })
        });
        match &ticked {
            Ok(_) => self.rooms.get_mut(topic).into_iter().for_each(|room| room.faults = 0),
            Err(fault) => self.beat_failed(topic, fault),
        }
        self.rest(topic);
        ticked.map(drop)
    }

    fn beat_failed(&mut self, topic: &str, fault: &Fault) {
        let most = self.room_terms(topic).map_or(0, |terms| terms.tick_faults);
        let Some(room) = self.rooms.get_mut(topic) else { return };
        room.faults += 1;
        if most == 0 || room.faults < most {
            return;
        }
        (room.is_given_up, room.beat) = (true, None);
        let members: Vec<u64> = self.members(topic).collect();
        members.into_iter().for_each(|id| self.end(id, "fault", fault.kind, None));
    }
}
