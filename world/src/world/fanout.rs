//! The delivery of broadcasts.

use bennu_semantics::{Decision, Message, Source, Topic};

use super::{Received, Role, World};
use crate::turn::decide;
use crate::{Callbacks, Person, Sent};

/// The event that closes the sockets with the topic's name as their id.
const DISCONNECT: &str = "disconnect";

impl<C: Callbacks> World<C> {
    /// Delivers an event to all members of a topic, through `handle_out` if their route intercepts it, and to
    /// subscribed members.
    pub(super) fn broadcast(&mut self, topic: &str, sent: &Sent, except: Option<u64>) {
        if sent.event == DISCONNECT {
            self.disconnect(topic);
        }
        let ids: Vec<u64> = self.roles.keys().copied().filter(|id| Some(*id) != except).collect();
        for id in ids {
            let Some(role) = self.roles.get(&id).filter(|role| role.is_in) else { continue };
            let heard = role.resources.topics.iter().find(|other| other.as_str() == topic).cloned();
            let is_member = role.topic.as_str() == topic;
            if let Some(topic) = heard {
                let Sent { event, payload } = sent.clone();
                self.wait(id, Message { source: Source::Topic, topic, event, payload });
            }
            if is_member {
                self.deliver(id, sent);
            }
        }
    }

    fn deliver(&mut self, id: u64, sent: &Sent) {
        let Some(topic) = self.roles.get(&id).map(|role| role.topic.clone()) else { return };
        let Some(spec) = self.spec(&topic).cloned() else { return };
        if !spec.intercepts.iter().any(|event| *event == *sent.event) {
            return self.give(id, Received::Broadcast(sent.clone()));
        }
        let Sent { event, payload } = sent.clone();
        let assigns = self.roles[&id].assigns.clone();
        self.limit_reach();
        let passing = (event.clone(), payload.clone());
        match decide(&mut self.callbacks, &mut self.host, (&spec, &topic), (id, assigns), passing) {
            Ok(Decision::Pass) => self.give(id, Received::Broadcast(sent.clone())),
            Ok(Decision::Drop) => {}
            Ok(Decision::Replace(payload)) => self.give(id, Received::Push(Sent { event, payload })),
            Ok(Decision::HandOver) => {
                self.wait_after_turn(id, Message { source: Source::Intercept, topic, event, payload });
            }
            Err(fault) => self.post_ending(id, fault),
        }
    }

    /// Sends an event to the clients of the members of a topic whose sockets have this id. Returns the number of members.
    pub(super) fn push_to_socket(&mut self, topic: &Topic, socket_id: &str, sent: &Sent) -> usize {
        let is_it = |id: &u64| self.roles[id].facts.socket_id.as_deref() == Some(socket_id);
        let found: Vec<u64> = self.members(topic).filter(is_it).collect();
        found.iter().for_each(|id| self.give(*id, Received::Push(sent.clone())));
        found.len()
    }

    pub(super) fn note_people(&mut self, topic: &Topic) {
        let members = self.roles.iter().filter(|(_, role)| role.is_in && role.topic == *topic);
        let person = |(id, role): (&u64, &Role)| Person {
            member: *id,
            user: role.facts.user.clone(),
            socket_id: role.facts.socket_id.clone(),
        };
        self.host.people.insert(topic.to_string(), members.map(person).collect());
    }
}
