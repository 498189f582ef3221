//! The connections of a stage: what comes from a client, by the host's rules for sockets, and what is given to it.

use std::collections::VecDeque;

use super::super::NotJoined;
use super::super::facts::Facts;
use super::super::limits::NAME_BYTES;
use super::role::reply_frame;
use super::{Came, World};
use crate::{Payload, Reply, Value, json};

/// A client's connection.
#[derive(Default)]
pub(in crate::testing) struct Socket {
    /// Who connected.
    pub(super) facts: Facts,
    pub(super) is_closed: bool,
    /// What came to its client, in order, where that is one at the level of frames. Else each of its members keeps what came.
    pub(in crate::testing) frames: Option<VecDeque<Value>>,
    /// The number of the message that it sends next.
    next_ref: u64,
}

/// A client's message of version 2. The refs are JSON texts.
pub(in crate::testing) struct Incoming {
    pub(in crate::testing) join_ref: String,
    pub(in crate::testing) reference: String,
    pub(in crate::testing) topic: String,
    pub(in crate::testing) event: String,
    pub(in crate::testing) payload: Payload,
}

impl World {
    /// Somebody connects. Gives the connection's number.
    pub(in crate::testing) fn connect(&mut self, who: Facts, has_frames: bool) -> u64 {
        let id = self.sockets.keys().next_back().map_or(1, |last| last + 1);
        let frames = has_frames.then(VecDeque::new);
        self.sockets.insert(id, Socket { facts: who, is_closed: false, frames, next_ref: 1 });
        id
    }

    /// The JSON text of the ref of a connection's next message.
    pub(in crate::testing) fn draw_ref(&mut self, socket: u64) -> String {
        let Some(socket) = self.sockets.get_mut(&socket) else { return "null".into() };
        let reference = format!("\"{}\"", socket.next_ref);
        socket.next_ref += 1;
        reference
    }

    /// Gives a member's client something, unless its connection has ended.
    pub(super) fn give(&mut self, id: u64, came: Came) {
        let Some(role) = self.roles.get_mut(&id) else { return };
        let Some(socket) = self.sockets.get_mut(&role.socket).filter(|socket| !socket.is_closed) else { return };
        match &mut socket.frames {
            Some(frames) => frames.push_back(role.frame(&came)),
            None => role.came.push_back(came),
        }
    }

    /// Gives a client at the level of frames something that no member of it is given.
    fn give_frame(&mut self, socket: u64, frame: &Value) {
        let socket = self.sockets.get_mut(&socket).filter(|socket| !socket.is_closed);
        socket.and_then(|socket| socket.frames.as_mut()).into_iter().for_each(|frames| frames.push_back(frame.clone()));
    }

    /// Closes all connections with an id, whose members end once nothing else waits. Gives how many there were.
    pub(in crate::testing) fn disconnect(&mut self, socket_id: &str) -> usize {
        let has_it = |socket: &Socket| !socket.is_closed && socket.facts.socket_id.as_deref() == Some(socket_id);
        let found: Vec<u64> = self.sockets.iter().filter(|(_, socket)| has_it(socket)).map(|(id, _)| *id).collect();
        for id in &found {
            let members = self.roles.iter().filter(|(_, role)| role.socket == *id && !role.is_replaced);
            let members: Vec<u64> = members.map(|(member, _)| *member).collect();
            if self.sockets[id].frames.is_some() {
                self.give_frame(*id, &Came::Disconnected.frame("", "null"));
            } else {
                members.into_iter().for_each(|member| self.give(member, Came::Disconnected));
            }
            self.hang_up(*id);
        }
        found.len()
    }

    /// A connection ends. So do its members, once nothing else waits.
    pub(super) fn hang_up(&mut self, socket: u64) {
        if let Some(open) = self.sockets.get_mut(&socket).filter(|socket| !socket.is_closed) {
            open.is_closed = true;
            self.closing.push_back(socket);
        }
    }

    /// The members of a connection that are in end with it, in the order of their topics.
    pub(super) fn end_all(&mut self, socket: u64) {
        let mut members: Vec<(String, u64)> = self
            .roles
            .iter()
            .filter(|(_, role)| role.is_in && role.socket == socket)
            .map(|(id, role)| (role.topic.clone(), *id))
            .collect();
        members.sort();
        members.into_iter().for_each(|(_, id)| self.end(id, "closed", "", None));
    }

    /// A client at the level of frames sends a message.
    pub(in crate::testing) fn receive(&mut self, socket: u64, message: Incoming) {
        if self.sockets.get(&socket).is_none_or(|socket| socket.is_closed) {
            return;
        }
        let Incoming { join_ref, reference, topic, event, payload } = message;
        let refuse = |reason: &str| Reply::error(json!({ "reason": reason }));
        let too_long = |what: &str| refuse(&format!("the {what} is longer than {NAME_BYTES} bytes"));
        let joined = self.roles.iter().find(|(_, role)| role.is_in && role.socket == socket && role.topic == topic);
        let joined = joined.map(|(id, role)| (*id, join_ref == "null" || join_ref == role.facts.join_ref));
        let (answered_as, reply) = match (event.as_str(), joined) {
            ("heartbeat", _) if topic == "phoenix" => ("null", Reply::ok(json!({}))),
            _ if topic.len() > NAME_BYTES => (join_ref.as_str(), too_long("topic")),
            _ if event.len() > NAME_BYTES => (join_ref.as_str(), too_long("event")),
            ("phx_join", _) if self.route(&topic).is_ok() => {
                let message = Incoming { join_ref, reference, topic, event, payload };
                return self.receive_join(socket, message, joined.map(|(id, _)| id));
            }
            ("phx_leave", Some((id, true))) => return self.leave_by(id, reference),
            ("phx_leave", None) => (join_ref.as_str(), Reply::ok(json!({}))),
            (_, Some((id, true))) => return self.handle_in(id, &event, payload, reference),
            (_, Some((_, false))) => return,
            (_, None) => ("null", refuse("unmatched topic")),
        };
        let frame = reply_frame((&topic, answered_as), &reference, &reply);
        self.give_frame(socket, &frame);
    }

    fn receive_join(&mut self, socket: u64, message: Incoming, joined: Option<u64>) {
        let Incoming { join_ref, reference, topic, payload, .. } = message;
        // A client that sent no join ref knows its channel by the ref of its join.
        let mark = if join_ref == "null" { &reference } else { &join_ref };
        let who = Facts { join_ref: mark.clone(), ..self.sockets[&socket].facts.clone() };
        if let Some(old) = joined {
            self.replace(old);
        }
        let refused = match self.admit(who, &topic, payload, (socket, Some(&reference))) {
            Ok(_) => None,
            Err(NotJoined::Refused(response)) => Some(Reply::error(response)),
            Err(NotJoined::Fault(_)) => Some(Reply::error(json!({ "reason": "join crashed" }))),
        };
        if let Some(reply) = refused {
            self.give_frame(socket, &reply_frame((&topic, &join_ref), &reference, &reply));
        }
        if let Some(old) = joined {
            self.give(old, Came::Close);
        }
        self.rest(&topic);
        self.settle();
    }
}
