//! Connections: messages from clients, by the host's rules for sockets, and messages to clients.

use std::collections::VecDeque;

use bennu_semantics::{Ending, NAME_BYTES_MAX, Payload, Reply, Topic};

use super::role::reply_frame;
use super::{Frame, NotJoined, Received, World};
use crate::{Callbacks, SocketFacts};

/// A client's connection.
#[derive(Debug)]
pub struct Client {
    /// The values of the socket.
    pub(super) facts: SocketFacts,
    pub(super) is_closed: bool,
    /// The frames that its client received, in order, for a client at the level of frames. Otherwise each member keeps
    /// its messages.
    pub(super) frames: Option<VecDeque<Frame>>,
    /// The ref of its next message.
    next_ref: u64,
}

/// A client's message of version 2. The refs are JSON texts.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The ref of the join that it belongs to.
    pub join_ref: String,
    /// Its own ref.
    pub reference: String,
    /// The topic.
    pub topic: String,
    /// The event.
    pub event: String,
    /// Its payload.
    pub payload: Payload,
}

impl<C: Callbacks> World<C> {
    /// A client connects. Returns its number.
    pub fn connect(&mut self, who: SocketFacts, has_frames: bool) -> u64 {
        let id = self.clients.keys().next_back().map_or(1, |last| last + 1);
        let frames = has_frames.then(VecDeque::new);
        self.clients.insert(id, Client { facts: who, is_closed: false, frames, next_ref: 1 });
        id
    }

    /// The JSON text of the ref of a connection's next message.
    pub fn draw_ref(&mut self, socket: u64) -> String {
        let Some(socket) = self.clients.get_mut(&socket) else { return "null".into() };
        let reference = format!("\"{}\"", socket.next_ref);
        socket.next_ref += 1;
        reference
    }

    /// Whether a client has this number, also one whose connection has ended.
    #[must_use]
    pub fn has_client(&self, client: u64) -> bool {
        self.clients.contains_key(&client)
    }

    /// Takes the next frame that a client at the level of frames received.
    pub fn next_frame(&mut self, client: u64) -> Option<Frame> {
        self.clients.get_mut(&client)?.frames.as_mut()?.pop_front()
    }

    /// Sends a message to a member's client, unless its connection has ended.
    pub(super) fn give(&mut self, id: u64, received: Received) {
        let Some(role) = self.roles.get_mut(&id) else { return };
        let Some(socket) = self.clients.get_mut(&role.client).filter(|socket| !socket.is_closed) else { return };
        match &mut socket.frames {
            Some(frames) => frames.push_back(role.frame(&received)),
            None => role.received.push_back(received),
        }
    }

    /// Sends a frame that belongs to no member.
    fn give_frame(&mut self, socket: u64, frame: &Frame) {
        let socket = self.clients.get_mut(&socket).filter(|socket| !socket.is_closed);
        socket.and_then(|socket| socket.frames.as_mut()).into_iter().for_each(|frames| frames.push_back(frame.clone()));
    }

    /// Closes all connections with an id. Their members end when no job is left. Returns the number of connections.
    pub(super) fn disconnect(&mut self, socket_id: &str) -> usize {
        let has_it = |socket: &Client| !socket.is_closed && socket.facts.socket_id.as_deref() == Some(socket_id);
        let found: Vec<u64> = self.clients.iter().filter(|(_, socket)| has_it(socket)).map(|(id, _)| *id).collect();
        for id in &found {
            let members = self.roles.iter().filter(|(_, role)| role.client == *id && !role.is_replaced);
            let members: Vec<u64> = members.map(|(member, _)| *member).collect();
            if self.clients[id].frames.is_some() {
                self.give_frame(*id, &Received::Disconnected.frame("", "null"));
            } else {
                members.into_iter().for_each(|member| self.give(member, Received::Disconnected));
            }
            self.hang_up(*id);
        }
        found.len()
    }

    /// Ends a connection. Its members end when no job is left.
    pub(super) fn hang_up(&mut self, socket: u64) {
        if let Some(open) = self.clients.get_mut(&socket).filter(|socket| !socket.is_closed) {
            open.is_closed = true;
            self.closing.push_back(socket);
        }
    }

    /// Ends the members of a connection, in the order of their topics.
    pub(super) fn end_all(&mut self, socket: u64) {
        let mut members: Vec<(Topic, u64)> = self
            .roles
            .iter()
            .filter(|(_, role)| role.is_in && role.client == socket)
            .map(|(id, role)| (role.topic.clone(), *id))
            .collect();
        members.sort();
        members.into_iter().for_each(|(_, id)| self.end(id, Ending::Closed, None));
    }

    /// A client at the level of frames sends a message.
    pub fn receive(&mut self, socket: u64, message: Incoming) {
        if self.clients.get(&socket).is_none_or(|socket| socket.is_closed) {
            return;
        }
        let Incoming { join_ref, reference, topic, event, payload } = message;
        let ok = Reply { status: "ok".into(), payload: Payload::EMPTY };
        let too_long =
            |what: &str| error(Payload::reason(&format!("the {what} is longer than {NAME_BYTES_MAX} bytes")));
        let joined =
            self.roles.iter().find(|(_, role)| role.is_in && role.client == socket && role.topic.as_str() == topic);
        let joined = joined.map(|(id, role)| (*id, join_ref == "null" || join_ref == role.facts.join_ref));
        let (answered_as, reply) = match (event.as_str(), joined) {
            ("heartbeat", _) if topic == "phoenix" => ("null", ok),
            _ if topic.len() > NAME_BYTES_MAX => (join_ref.as_str(), too_long("topic")),
            _ if event.len() > NAME_BYTES_MAX => (join_ref.as_str(), too_long("event")),
            ("phx_join", _) if self.spec(&Topic::new(&topic)).is_some() => {
                let message = Incoming { join_ref, reference, topic, event, payload };
                return self.receive_join(socket, message, joined.map(|(id, _)| id));
            }
            ("phx_leave", Some((id, true))) => return self.leave_by(id, reference),
            ("phx_leave", None) => (join_ref.as_str(), ok),
            (_, Some((id, true))) => return self.handle_in(id, &event, payload, reference),
            (_, Some((_, false))) => return,
            (_, None) => ("null", error(Payload::reason("unmatched topic"))),
        };
        let frame = reply_frame((&topic, answered_as), &reference, &reply);
        self.give_frame(socket, &frame);
    }

    fn receive_join(&mut self, socket: u64, message: Incoming, joined: Option<u64>) {
        let Incoming { join_ref, reference, topic: name, payload, .. } = message;
        let topic = Topic::new(&name);
        // Without a join ref, the ref of the join message identifies the membership.
        let mark = if join_ref == "null" { &reference } else { &join_ref };
        let who = SocketFacts { join_ref: mark.clone(), ..self.clients[&socket].facts.clone() };
        if let Some(old) = joined {
            self.replace(old);
        }
        let refused = match self.admit(who, &topic, payload, (socket, Some(&reference))) {
            Ok(_) => None,
            Err(NotJoined::Refused(response)) => Some(error(response)),
            Err(NotJoined::Fault(_)) => Some(error(Payload::reason("join crashed"))),
        };
        if let Some(reply) = refused {
            self.give_frame(socket, &reply_frame((&name, &join_ref), &reference, &reply));
        }
        if let Some(old) = joined {
            self.give(old, Received::Close);
        }
        self.rest(&topic);
        self.settle();
    }
}

/// A reply with the status `error`.
pub(super) fn error(payload: Payload) -> Reply {
    Reply { status: "error".into(), payload }
}
