//! The fanout of a stage: who gets an event.

use super::super::facts::Facts;
use super::super::online::Online;
use super::super::record::{Record, check_object};
use super::super::saved::Standing;
use super::super::{Fault, Sent, recorder};
use super::{Came, Seat, World};
use crate::bindings::exports::bennu::channel::handle_out::Recipient;
use crate::topics::Person;
use crate::{Decision, Message, Payload, Value};

impl World {
    /// An event to all members of a topic, through `handle_out` where their channel intercepts it, and to those who listen.
    pub(in crate::testing) fn broadcast(&mut self, topic: &str, sent: &Sent, except: Option<u64>) {
        let ids: Vec<u64> = self.seats.keys().copied().filter(|id| Some(*id) != except).collect();
        for id in ids {
            let Some(seat) = self.seats.get_mut(&id).filter(|seat| seat.is_in) else { continue };
            if seat.holdings.topics.iter().any(|other| other == topic) {
                let Sent { event, payload } = sent.clone();
                seat.waiting.push_back(Message { source: "topic".into(), topic: topic.into(), event, payload });
            }
            if seat.topic == topic {
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
        let Some(seat) = self.seats.get_mut(&id) else { return };
        let Sent { event, payload } = sent.clone();
        match decision {
            Decision::Pass => seat.came.push_back(Came::Broadcast(sent.clone())),
            Decision::Drop => {}
            Decision::Replace(payload) => seat.came.push_back(Came::Push(Sent { event, payload })),
            Decision::HandOver => {
                let topic = seat.topic.clone();
                seat.waiting.push_back(Message { source: "intercept".into(), topic, event, payload });
            }
        }
    }

    fn decide(&mut self, id: u64, sent: &Sent, call: HandleOut) -> Result<Decision, Fault> {
        let Some(seat) = self.seats.get(&id) else { return Ok(Decision::Drop) };
        let (facts, standing) =
            (self.facts_for(&Facts::default()), Standing { assigns: Some(seat.assigns.clone()), room: None });
        let (assigns, _) = standing.fit(&self.terms(&seat.topic)?, &seat.topic, &facts)?.into_bytes();
        let (recipients, record) = ([Recipient { member: id, assigns }], Record::reading(facts));
        let asked = || call(&seat.topic, &sent.event, &sent.payload, &recipients);
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
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.came.push_back(came);
        }
    }

    pub(super) fn note_people(&mut self, topic: &str) {
        let members = self.seats.iter().filter(|(_, seat)| seat.is_in && seat.topic == topic);
        let person = |(id, seat): (&u64, &Seat)| Person {
            member: *id,
            user: seat.facts.user.clone(),
            socket_id: seat.facts.socket_id.clone(),
        };
        self.facts.people.insert(topic.into(), members.map(person).collect());
    }
}

type HandleOut = fn(&str, &str, &Payload, &[Recipient]) -> Result<Vec<Decision>, String>;

pub(super) fn presence(event: &str, payload: &Value) -> Sent {
    Sent { event: event.into(), payload: Payload::Json(payload.to_string()) }
}
