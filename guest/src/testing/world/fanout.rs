//! The fanout of a stage: who gets an event.

use super::super::facts::Facts;
use super::super::online::Online;
use super::super::record::{Record, check_object};
use super::super::saved::Standing;
use super::super::{Fault, Sent, recorder};
use super::{Came, Role, Waiting, World};
use crate::bindings::exports::bennu::channel::handle_out::Recipient;
use crate::topics::Person;
use crate::{Decision, Message, Payload, Value};

impl World {
    /// An event to all members of a topic, through `handle_out` where their channel intercepts it, and to those who listen.
    pub(in crate::testing) fn broadcast(&mut self, topic: &str, sent: &Sent, except: Option<u64>) {
        let ids: Vec<u64> = self.roles.keys().copied().filter(|id| Some(*id) != except).collect();
        for id in ids {
            let Some(role) = self.roles.get_mut(&id).filter(|role| role.is_in) else { continue };
            if role.holdings.topics.iter().any(|other| other == topic) {
                let Sent { event, payload } = sent.clone();
                let message = Message { source: "topic".into(), topic: topic.into(), event, payload };
                self.waiting.push_back(Waiting::Message(id, message));
            }
            if role.topic == topic {
                self.deliver(id, sent);
            }
        }
    }

    fn deliver(&mut self, id: u64, sent: &Sent) {
        let Some(route) = self.route_of(id) else { return };
        let (is_intercepted, call) = (route.describe().intercepts.contains(&sent.event), route.handle_out);
        let decision = if is_intercepted { self.decide(id, sent, call) } else { Ok(Decision::Pass) };
        let decision = match decision {
            Ok(decision) => decision,
            Err(fault) => return self.fail(id, &fault, None),
        };
        let Some(role) = self.roles.get_mut(&id) else { return };
        let Sent { event, payload } = sent.clone();
        match decision {
            Decision::Pass => role.came.push_back(Came::Broadcast(sent.clone())),
            Decision::Drop => {}
            Decision::Replace(payload) => role.came.push_back(Came::Push(Sent { event, payload })),
            Decision::HandOver => {
                let topic = role.topic.clone();
                self.wait(id, Message { source: "intercept".into(), topic, event, payload });
            }
        }
    }

    fn decide(&mut self, id: u64, sent: &Sent, call: HandleOut) -> Result<Decision, Fault> {
        let Some(role) = self.roles.get(&id) else { return Ok(Decision::Drop) };
        let (facts, standing) =
            (self.facts_for(&Facts::default()), Standing { assigns: Some(role.assigns.clone()), room: None });
        let (assigns, _) = standing.fit(&self.terms(&role.topic)?, &role.topic, &facts)?.into_bytes();
        let (recipients, record) = ([Recipient { member: id, assigns }], Record::reading(facts));
        let asked = || call(&role.topic, &sent.event, &sent.payload, &recipients);
        let decision = recorder::run(record, asked).0?.pop().unwrap_or(Decision::Pass);
        if let Decision::Replace(payload) = &decision {
            check_object(payload).map_err(Fault::failed)?;
        }
        Ok(decision)
    }

    /// Changes who is online, and tells the topic.
    pub(super) fn tell_presences(&mut self, topic: &str, change: impl FnOnce(&mut Online) -> Option<Value>) {
        if let Some(diff) = change(&mut self.facts.online) {
            self.broadcast(topic, &presence("presence_diff", &diff), None);
        }
    }

    pub(super) fn give(&mut self, id: u64, came: Came) {
        if let Some(role) = self.roles.get_mut(&id) {
            role.came.push_back(came);
        }
    }

    /// A message for a member, behind what waits.
    pub(super) fn wait(&mut self, id: u64, message: Message) {
        self.waiting.push_back(Waiting::Message(id, message));
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

pub(super) fn presence(event: &str, payload: &Value) -> Sent {
    Sent { event: event.into(), payload: Payload::Json(payload.to_string()) }
}
