//! Seats on a stage: who sits where, and for how long a seat is kept for who dropped.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::Effect;
use super::{Waiting, World};
use crate::bindings::bennu::channel::types::Outcome;
use crate::{Answer, SeatChange};

/// A topic's seats, by their names.
#[derive(Clone, Debug, Default)]
pub(super) struct Seats(BTreeMap<String, Seat>);

#[derive(Clone, Debug)]
struct Seat {
    members: Vec<u64>,
    /// For how many milliseconds it is kept.
    grace: u64,
    /// When it is gone, if nobody comes back until then.
    ends: Option<u64>,
}

impl Seats {
    /// Whether one is kept for somebody.
    pub(super) fn are_kept(&self) -> bool {
        self.0.values().any(|seat| seat.ends.is_some())
    }

    /// A member sits down. Gives what is to be told, if anything.
    fn take(&mut self, id: u64, name: &str, grace: u64) -> Option<SeatChange> {
        let Some(seat) = self.0.get_mut(name) else {
            self.0.insert(name.into(), Seat { members: vec![id], grace, ends: None });
            return Some(SeatChange::Taken);
        };
        if !seat.members.contains(&id) {
            seat.members.push(id);
        }
        seat.grace = grace;
        seat.ends.take().map(|_| SeatChange::Returned)
    }

    /// A member rises, for good or not. Gives what is to be told, if anything.
    fn rise(&mut self, id: u64, name: &str, leaves: bool, now: u64) -> Option<SeatChange> {
        let seat = self.0.get_mut(name)?;
        seat.members.retain(|other| *other != id);
        if !seat.members.is_empty() {
            return None;
        }
        if leaves || seat.grace == 0 {
            self.0.remove(name);
            return Some(SeatChange::Gone);
        }
        seat.ends = Some(now.saturating_add(seat.grace));
        Some(SeatChange::Dropped)
    }
}

/// The most changes of one seat that wait.
const CHANGES: usize = 5;

/// Leaves out changes that led back to where the seat had been before, but for the last two, as the host does.
fn shorten(changes: &mut Vec<SeatChange>) {
    let place = |change: SeatChange| match change {
        SeatChange::Taken | SeatChange::Returned => 0,
        SeatChange::Dropped => 1,
        SeatChange::Gone => 2,
    };
    while changes.len() > CHANGES {
        let older = changes.len() - 2;
        let mut pairs = (0..older).flat_map(|first| (first + 1..older).map(move |later| (first, later)));
        let detour = pairs.find(|&(first, later)| place(changes[first]) == place(changes[later]));
        let Some((first, later)) = detour else { return };
        changes.drain(first + 1..=later);
    }
}

/// The effects of a call, of which only the last decides about its member's seat: whether the one that it had is given up first,
/// and which it takes.
pub(super) fn last_seat(mut effects: Vec<Effect>) -> Vec<Effect> {
    let rises = effects.iter().rposition(|effect| matches!(effect, Effect::LeaveSeat));
    let takes = effects.iter().rposition(|effect| matches!(effect, Effect::TakeSeat(..)));
    let takes = takes.filter(|takes| rises.is_none_or(|rises| rises < *takes));
    let mut at = 0;
    effects.retain(|effect| {
        let is_of_seat = matches!(effect, Effect::TakeSeat(..) | Effect::LeaveSeat);
        at += 1;
        !is_of_seat || rises == Some(at - 1) || takes == Some(at - 1)
    });
    effects
}

impl World {
    /// A member takes a seat, and gives up another that it has.
    pub(super) fn take_seat(&mut self, id: u64, name: &str, grace: Duration) {
        if self.roles[&id].seat.as_ref().is_some_and(|other| other != name) {
            self.rise(id, true);
        }
        let Some(role) = self.roles.get_mut(&id) else { return };
        let topic = role.topic.clone();
        role.seat = Some(name.into());
        let grace = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let change = self.room_mut(&topic).and_then(|room| room.seats.take(id, name, grace));
        change.into_iter().for_each(|change| self.tell_seat(&topic, name, change));
    }

    /// A member rises from the seat that it has, for good or not.
    pub(super) fn rise(&mut self, id: u64, leaves: bool) {
        let now = self.facts.now;
        let Some(role) = self.roles.get_mut(&id) else { return };
        let (topic, Some(name)) = (role.topic.clone(), role.seat.take()) else { return };
        let change = self.room_mut(&topic).and_then(|room| room.seats.rise(id, &name, leaves, now));
        change.into_iter().for_each(|change| self.tell_seat(&topic, &name, change));
    }

    /// Has the topic told of a change, in the one turn that waits for the seat.
    fn tell_seat(&mut self, topic: &str, name: &str, change: SeatChange) {
        let waits = self.waiting.iter_mut().find_map(|waiting| match waiting {
            Waiting::Seat(of, seat, changes) if of == topic && seat == name => Some(changes),
            _ => None,
        });
        let Some(changes) = waits else {
            return self.waiting.push_back(Waiting::Seat(topic.into(), name.into(), vec![change]));
        };
        changes.push(change);
        shorten(changes);
    }

    /// Until when which topic's seats are kept.
    pub(super) fn kept_seats(&self) -> impl Iterator<Item = (u64, &String, &String)> {
        self.rooms().flat_map(|(topic, room)| {
            room.seats.0.iter().filter_map(move |(name, seat)| Some((seat.ends?, topic, name)))
        })
    }

    /// Nobody has come back to a seat in time.
    pub(super) fn expire_seat(&mut self, topic: &str, name: &str) {
        if let Some(room) = self.room_mut(topic) {
            room.seats.0.remove(name);
        }
        self.change_seat(topic, name, SeatChange::Gone);
    }

    /// Has a topic's `handle_seat` called.
    pub(super) fn change_seat(&mut self, topic: &str, name: &str, change: SeatChange) {
        let Some(call) = self.route(topic).ok().map(|route| route.handle_seat) else { return };
        self.open_room(topic);
        // What went wrong is among the faults.
        let _ = self.topic_turn(topic, |room| {
            let room = call(topic.into(), name, change, room)?;
            Ok(Outcome { assigns: None, room, answer: Answer::None })
        });
        self.rest(topic);
    }
}
