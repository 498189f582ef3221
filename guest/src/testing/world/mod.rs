//! What is behind a stage: the members and their topics, under one clock.

mod effects;
mod fanout;
mod published;
mod role;
mod rooms;
mod seats;
mod turns;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

pub(in crate::testing) use role::{Came, Role};
use rooms::Room;

use super::facts::{Facts, Reach};
use super::terms::{RoomTerms, Terms};
use super::{Fault, NotJoined, Sent, timers};
use crate::bindings::bennu::channel::types;
use crate::plugin::Route;
use crate::route::find;
use crate::{Answer, Message, Payload, Reply, SeatChange};

/// What the members of a stage may send to one another before it is taken for endless.
const DELIVERIES: usize = 100_000;

/// A host with its members.
#[derive(Default)]
pub(in crate::testing) struct World {
    routes: Vec<Route>,
    pub(in crate::testing) facts: Facts,
    pub(in crate::testing) reach: Reach,
    pub(in crate::testing) roles: BTreeMap<u64, Role>,
    pub(in crate::testing) faults: Vec<Fault>,
    rooms: BTreeMap<String, Room>,
    /// What is handled next, in this order.
    waiting: VecDeque<Waiting>,
}

/// What waits to be handled.
enum Waiting {
    /// A message for a member.
    Message(u64, Message),
    /// What has become of a topic's seat. At most one waits for each.
    Seat(String, String, Vec<SeatChange>),
}

/// What comes next in time. Of what comes at once, the first of these is the first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    /// A member's timer.
    Timer(u64),
    /// A topic's beat.
    Beat(String),
    /// The end of a topic's seat to which nobody has come back.
    Seat(String, String),
    /// A room's end.
    End(String),
}

impl World {
    pub(in crate::testing) fn add_route(&mut self, route: Route) {
        self.reach.own.push(route.describe().pattern);
        self.routes.push(route);
    }

    /// Puts a route in place of the one with the same pattern. Whether there is one.
    pub(in crate::testing) fn replace_route(&mut self, route: Route) -> bool {
        let pattern = route.describe().pattern;
        let old = self.routes.iter_mut().find(|old| old.describe().pattern == pattern);
        old.map(|old| *old = route).is_some()
    }

    pub(in crate::testing) fn join(&mut self, who: Facts, topic: &str, params: Payload) -> Result<u64, NotJoined> {
        self.open_room(topic);
        let joined = self.admit(who, topic, params);
        self.rest(topic);
        joined.inspect(|_| self.settle())
    }

    /// A member's client joins its topic again.
    pub(in crate::testing) fn rejoin(&mut self, id: u64, params: Payload) -> Result<u64, NotJoined> {
        let (who, topic) = (self.roles[&id].facts.clone(), self.roles[&id].topic.clone());
        if self.room_terms(&topic).is_some() {
            self.end(id, "replaced", "", Came::Close);
        } else {
            self.exit(id, Came::Close);
        }
        self.join(who, &topic, params)
    }

    /// The client of a member sends an event. Gives its ref.
    pub(in crate::testing) fn push(&mut self, id: u64, event: &str, payload: Payload) -> Option<String> {
        let role = self.roles.get_mut(&id).filter(|role| role.is_in)?;
        role.received += 1;
        let reference = format!("\"{}\"", role.received);
        let reply_ref = Some(reference.clone());
        let call = self.route_of(id)?.handle_in;
        let answered = reply_ref.clone();
        self.turn(id, |member| call(member, event, payload, reply_ref), answered);
        self.settle();
        Some(reference)
    }

    /// A member's client leaves.
    pub(in crate::testing) fn leave(&mut self, id: u64) {
        let was_in = self.roles.get(&id).is_some_and(|role| role.is_in);
        if was_in {
            self.end(id, "left", "", Came::Close);
            self.settle();
        }
    }

    /// A member's connection ends.
    pub(in crate::testing) fn close(&mut self, id: u64) {
        self.end(id, "closed", "", Came::Disconnected);
        self.settle();
    }

    pub(in crate::testing) fn disconnect(&mut self, socket_id: &str) {
        let has_it = |role: &Role| role.is_in && role.facts.socket_id.as_deref() == Some(socket_id);
        let ids: Vec<u64> = self.roles.iter().filter(|(_, role)| has_it(role)).map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.end(id, "closed", "", Came::Disconnected));
    }

    /// Something for a topic's `handle_message`.
    pub(in crate::testing) fn send(&mut self, topic: &str, sent: Sent) -> Result<Option<Reply>, Fault> {
        let call = self.route(topic)?.handle_message;
        self.open_room(topic);
        let answer = self.topic_turn(topic, |room| {
            let outcome = call(topic.into(), &sent.event, sent.payload, room)?;
            let answer = outcome.reply.map_or(Answer::None, Answer::Reply);
            Ok(types::Outcome { assigns: None, room: outcome.room, answer })
        });
        self.rest(topic);
        answer.map(|answer| if let Answer::Reply(reply) = answer { Some(reply) } else { None })
    }

    /// Handles what waits, until nothing does.
    pub(in crate::testing) fn settle(&mut self) {
        for _ in 0..DELIVERIES {
            match self.waiting.pop_front() {
                Some(Waiting::Message(id, message)) if self.roles[&id].is_in => self.info(id, message),
                Some(Waiting::Message(..)) => {}
                Some(Waiting::Seat(topic, name, changes)) => {
                    changes.into_iter().for_each(|change| self.change_seat(&topic, &name, change));
                }
                None => return,
            }
        }
        panic!("the members sent {DELIVERIES} messages, and go on");
    }

    /// Time passes: timers ring, topics beat, seats and rooms end, in their order.
    pub(in crate::testing) fn advance(&mut self, time: Duration) {
        let until = self.facts.now.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        while let Some((due, next)) = self.next().filter(|(due, _)| *due <= until) {
            self.facts.now = self.facts.now.max(due);
            match next {
                Next::Timer(id) => self.ring(id, due),
                Next::Beat(topic) => self.beat(&topic),
                Next::Seat(topic, name) => self.expire_seat(&topic, &name),
                Next::End(topic) => self.close_room(&topic),
            }
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
        timers.chain(beats).chain(seats).chain(ends).min()
    }

    fn ring(&mut self, id: u64, until: u64) {
        let Some(role) = self.roles.get_mut(&id) else { return };
        if let Some(timer) = timers::take_due(&mut role.timers, until) {
            let (topic, Sent { event, payload }) = (role.topic.clone(), timer.sent);
            self.info(id, Message { source: "self".into(), topic, event, payload });
        }
    }

    fn route(&self, topic: &str) -> Result<&Route, Fault> {
        find(&self.routes, topic).map_err(Fault::failed)
    }

    fn route_of(&self, id: u64) -> Option<&Route> {
        self.route(&self.roles.get(&id)?.topic).ok()
    }

    fn terms(&self, topic: &str) -> Result<Terms, Fault> {
        self.route(topic).map(Terms::of)
    }

    fn room_terms(&self, topic: &str) -> Option<RoomTerms> {
        self.terms(topic).ok()?.room
    }

    /// The members of a topic.
    fn members(&self, topic: &str) -> impl Iterator<Item = u64> {
        self.roles.iter().filter(move |(_, role)| role.is_in && role.topic == topic).map(|(id, _)| *id)
    }

    /// What a callback of a socket reads: the host's own, with what is the socket's.
    fn facts_for(&self, socket: &Facts) -> Facts {
        let Facts { socket_id, user, claims, connect_params, x_headers, .. } = socket.clone();
        let reach = Some(self.reach.clone());
        Facts { socket_id, user, claims, connect_params, x_headers, reach, ..self.facts.clone() }
    }
}
