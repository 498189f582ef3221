//! What is behind a stage: the members and their topics, under one clock.

mod effects;
mod fanout;
mod presences;
mod published;
mod queue;
mod role;
mod rooms;
mod seats;
mod sockets;
mod time;
mod turns;

use std::collections::{BTreeMap, VecDeque};

use queue::{Job, TurnQueue};
pub(in crate::testing) use role::{Came, Role};
use rooms::Room;
pub(in crate::testing) use sockets::{Incoming, Socket};

use super::facts::{Facts, Reach};
use super::online::Window;
use super::terms::{RoomTerms, RouteTerms};
use super::{Fault, NotJoined, Sent};
use crate::plugin::Route;
use crate::route::find;
use crate::{Payload, Reply, json};

/// A host with its members.
#[derive(Default)]
pub(in crate::testing) struct World {
    routes: Vec<Route>,
    pub(in crate::testing) facts: Facts,
    pub(in crate::testing) reach: Reach,
    pub(in crate::testing) roles: BTreeMap<u64, Role>,
    /// How many numbers of members were given, those of joins that were refused included.
    numbered: u64,
    pub(in crate::testing) sockets: BTreeMap<u64, Socket>,
    pub(in crate::testing) faults: Vec<Fault>,
    rooms: BTreeMap<String, Room>,
    /// The pace of each topic's `presence_diff`s.
    windows: BTreeMap<String, Window>,
    /// What is handled next, each in the queue that it belongs to.
    waiting: VecDeque<(TurnQueue, Job)>,
    /// What comes of the turn at hand, and waits behind all that the turn itself asked for.
    after_turn: Vec<(TurnQueue, Job)>,
    /// The queue that is being worked through.
    line: Option<TurnQueue>,
    /// The connections that have ended and whose members haven't.
    closing: VecDeque<u64>,
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

    /// Somebody connects and joins a topic. Who isn't let in is disconnected.
    pub(in crate::testing) fn join(&mut self, who: Facts, topic: &str, params: Payload) -> Result<u64, NotJoined> {
        let socket = self.connect(who, false);
        let joined = self.join_on(socket, topic, params);
        if joined.is_err() {
            self.hang_up(socket);
        }
        self.settle();
        joined
    }

    /// A member's client joins its topic again.
    pub(in crate::testing) fn rejoin(&mut self, id: u64, params: Payload) -> Result<u64, NotJoined> {
        let (socket, topic) = (self.roles[&id].socket, self.roles[&id].topic.clone());
        self.replace(id);
        let joined = self.join_on(socket, &topic, params);
        self.give(id, Came::Close);
        self.settle();
        joined
    }

    fn join_on(&mut self, socket: u64, topic: &str, params: Payload) -> Result<u64, NotJoined> {
        let join_ref = self.draw_ref(socket);
        let who = Facts { join_ref, ..self.sockets[&socket].facts.clone() };
        let joined = self.admit(who, topic, params, (socket, None));
        self.rest(topic);
        joined
    }

    /// Ends a member whose client joins the topic again. Its `terminate` runs in a topic with a room only.
    fn replace(&mut self, id: u64) {
        let Some(role) = self.roles.get_mut(&id).filter(|role| role.is_in) else { return };
        role.is_replaced = true;
        let topic = role.topic.clone();
        if self.room_terms(&topic).is_some() {
            self.end(id, "replaced", "", None);
        } else {
            self.exit(id);
        }
    }

    /// The client of a member sends an event. Gives its ref.
    pub(in crate::testing) fn push(&mut self, id: u64, event: &str, payload: Payload) -> String {
        let (socket, is_in, is_replaced) = {
            let role = &self.roles[&id];
            (role.socket, role.is_in, role.is_replaced)
        };
        let reference = self.draw_ref(socket);
        if is_in {
            self.handle_in(id, event, payload, reference.clone());
        } else if !is_replaced {
            let unmatched = Reply::error(json!({ "reason": "unmatched topic" }));
            self.give(id, Came::Unmatched(reference.clone(), unmatched));
        }
        reference
    }

    /// A member's client leaves. Gives the ref of its message.
    pub(in crate::testing) fn leave(&mut self, id: u64) -> String {
        let socket = self.roles[&id].socket;
        let reference = self.draw_ref(socket);
        self.leave_by(id, reference.clone());
        reference
    }

    /// A member's client leaves, by a message of this ref. A topic that isn't joined is left well, too.
    fn leave_by(&mut self, id: u64, reference: String) {
        let role = &self.roles[&id];
        let left = Came::Reply(reference, Reply::ok(json!({})));
        if role.is_in {
            self.line = self.line_of(id);
            self.end(id, "left", "", Some(left));
            self.end_turn();
            self.settle();
        } else if !role.is_replaced {
            self.give(id, left);
        }
    }

    /// A member's connection ends.
    pub(in crate::testing) fn close(&mut self, id: u64) {
        let socket = self.roles[&id].socket;
        self.close_socket(socket);
    }

    /// A connection ends.
    pub(in crate::testing) fn close_socket(&mut self, socket: u64) {
        self.hang_up(socket);
        self.settle();
    }

    /// Somebody elsewhere broadcasts to a topic.
    pub(in crate::testing) fn broadcast_from_elsewhere(&mut self, topic: &str, sent: &Sent) {
        self.broadcast(topic, sent, None);
        self.end_turn();
        self.settle();
    }

    fn route(&self, topic: &str) -> Result<&Route, Fault> {
        find(&self.routes, topic).map_err(Fault::failed)
    }

    fn route_of(&self, id: u64) -> Option<&Route> {
        self.route(&self.roles.get(&id)?.topic).ok()
    }

    fn terms(&self, topic: &str) -> Result<RouteTerms, Fault> {
        self.route(topic).map(RouteTerms::of)
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
        let Facts { socket_id, user, claims, connect_params, x_headers, join_ref, .. } = socket.clone();
        let reach = Some(self.reach.clone());
        Facts { socket_id, user, claims, connect_params, x_headers, join_ref, reach, ..self.facts.clone() }
    }
}
