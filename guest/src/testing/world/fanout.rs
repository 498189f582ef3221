//! The fanout of a stage: who gets an event.

use super::super::facts::Facts;
use super::super::record::Record;
use super::super::saved::StateSnapshot;
use super::super::{Fault, Sent, recorder};
use super::{Came, Role, World};
use crate::bindings::exports::bennu::channel::handle_out::Recipient;
use crate::topics::Person;
use crate::{Decision, Message, Payload};

/// The event that closes the sockets whose id is the topic.
const DISCONNECT: &str = "disconnect";

impl World {
    /// An event to all members of a topic, through `handle_out` where their channel intercepts it, and to those who listen.
    pub(super) fn broadcast(&mut self, topic: &str, sent: &Sent, except: Option<u64>) {
        if sent.event == DISCONNECT {
            self.disconnect(topic);
        }
        let ids: Vec<u64> = self.roles.keys().copied().filter(|id| Some(*id) != except).collect();
        for id in ids {
            let Some(role) = self.roles.get(&id).filter(|role| role.is_in) else { continue };
            let (hears, is_member) = (role.hears.iter().any(|other| other == topic), role.topic == topic);
            if hears {
                let Sent { event, payload } = sent.clone();
                self.wait(id, Message { source: "topic".into(), topic: topic.into(), event, payload });
            }
            if is_member {
                self.deliver(id, sent);
            }
        }
    }

    fn deliver(&mut self, id: u64, sent: &Sent) {
        let Some(route) = self.route_of(id) else { return };
        let (is_intercepted, call) = (route.describe().intercepts.contains(&sent.event), route.handle_out);
        if !is_intercepted {
            return self.give(id, Came::Broadcast(sent.clone()));
        }
        let Sent { event, payload } = sent.clone();
        match self.decide(id, sent, call) {
            Ok(Decision::Pass) => self.give(id, Came::Broadcast(sent.clone())),
            Ok(Decision::Drop) => {}
            Ok(Decision::Replace(payload)) => self.give(id, Came::Push(Sent { event, payload })),
            Ok(Decision::HandOver) => {
                let topic = self.roles[&id].topic.clone();
                self.wait_after_turn(id, Message { source: "intercept".into(), topic, event, payload });
            }
            Err(fault) => self.post_ending(id, fault),
        }
    }

    fn decide(&mut self, id: u64, sent: &Sent, call: HandleOut) -> Result<Decision, Fault> {
        let Some(role) = self.roles.get(&id) else { return Ok(Decision::Drop) };
        let (topic, standing) = (role.topic.clone(), StateSnapshot { assigns: Some(role.assigns.clone()), room: None });
        let mut facts = self.facts_for(&Facts::default());
        let fitted = standing.upgraded(&self.terms(&topic)?, &topic, &mut facts);
        self.facts.drawn = facts.drawn;
        let (assigns, _) = fitted?.into_bytes();
        let recipients = [Recipient { member: id, assigns }];
        let asked = || call(&topic, &sent.event, &sent.payload, &recipients);
        let (decisions, mut record) = recorder::run(Record::reading(facts), asked);
        self.facts.drawn = record.facts.drawn;
        let decision = decisions?.pop().unwrap_or(Decision::Pass);
        record.check_decision(&decision)?;
        Ok(decision)
    }

    pub(super) fn note_people(&mut self, topic: &str) {
        let members = self.roles.iter().filter(|(_, role)| role.is_in && role.topic == topic);
        let person = |(id, role): (&u64, &Role)| Person {
            member: *id,
            user: role.facts.user.clone(),
            socket_id: role.facts.socket_id.clone(),
        };
        self.facts.people.insert(topic.into(), members.map(person).collect());
    }
}

type HandleOut = fn(&str, &str, &Payload, &[Recipient]) -> Result<Vec<Decision>, String>;
