//! The turns of a stage: a callback and its commit, or its fault.

use super::super::facts::Facts;
use super::super::record::{Holdings, Record};
use super::super::saved::Standing;
use super::super::{Effect, Fault, NotJoined, recorder};
use super::seats::last_seat;
use super::{Came, Role, World};
use crate::bindings::bennu::channel::types::{self, Admission, Membership};
use crate::callbacks::{Called, Room};
use crate::{Answer, Ending, Message, Payload, Reply, json};

/// What a callback of a member has come to: what it gave, and the states that it leaves.
type Turned = Result<(Answer, Standing, Record), Fault>;

impl World {
    /// A join, with its commit.
    pub(super) fn admit(&mut self, who: Facts, topic: &str, params: Payload) -> Result<u64, NotJoined> {
        let id = self.roles.keys().next_back().map_or(1, |last| last + 1);
        let call = self.route(topic).map_err(NotJoined::Fault)?.join;
        let standing = Standing { assigns: None, room: self.saved_room(topic) };
        let record = Record::of_member(self.facts_for(&who), Holdings::default());
        let mut refused = None;
        let turned = self.ask(topic, &standing, record, |_, room| {
            Ok(match call(id, topic.into(), params, room)? {
                Admission::Admitted(admitted) => types::Outcome {
                    assigns: Some(admitted.assigns),
                    room: admitted.room,
                    answer: Answer::Reply(Reply::ok(admitted.response)),
                },
                Admission::Refused(response) => {
                    refused = Some(response);
                    types::Outcome { assigns: None, room: None, answer: Answer::None }
                }
            })
        });
        let (answer, states, record) = turned.map_err(NotJoined::Fault)?;
        if let Some(response) = refused {
            return Err(NotJoined::Refused(response));
        }
        let response = if let Answer::Reply(reply) = answer { reply.payload } else { crate::output::empty() };
        self.roles.insert(id, Role::new(topic, response, who));
        self.note_people(topic);
        self.show_state(id);
        self.commit(id, (Answer::None, states, record), None);
        Ok(id)
    }

    pub(super) fn info(&mut self, id: u64, message: Message) {
        let Some(call) = self.route_of(id).map(|route| route.handle_info) else { return };
        self.turn(id, |member| call(member, message), None);
    }

    /// One callback of a member, with its commit, or its end.
    pub(super) fn turn(
        &mut self,
        id: u64,
        callback: impl FnOnce(Membership) -> Called<types::Outcome>,
        answered: Option<String>,
    ) {
        match self.call(id, callback) {
            Ok(turned) => self.commit(id, turned, answered),
            Err(fault) => self.fail(id, &fault, answered),
        }
    }

    fn call(&mut self, id: u64, callback: impl FnOnce(Membership) -> Called<types::Outcome>) -> Turned {
        let role = &self.roles[&id];
        let timers = role.timers.iter().map(|timer| timer.id.0).collect();
        let record = Record::of_member(self.facts_for(&role.facts), Holdings { timers, ..role.holdings.clone() });
        let (topic, room) = (role.topic.clone(), self.saved_room(&role.topic));
        let standing = Standing { assigns: Some(role.assigns.clone()), room };
        self.ask(&topic.clone(), &standing, record, |assigns, room| callback(Membership { id, topic, assigns, room }))
    }

    /// Runs a callback on states, which are upgraded first where they are of another version.
    fn ask(
        &mut self,
        topic: &str,
        standing: &Standing,
        record: Record,
        callback: impl FnOnce(Vec<u8>, Room) -> Called<types::Outcome>,
    ) -> Turned {
        let terms = self.terms(topic)?;
        let states = standing.fit(&terms, topic, &record.facts)?;
        let (result, mut record) = recorder::run(record, || {
            let (assigns, room) = states.clone().into_bytes();
            callback(assigns, room)
        });
        self.facts.drawn = record.facts.drawn;
        let outcome = result?;
        record.check(&outcome, &terms)?;
        Ok((outcome.answer, states.and(&terms, outcome.assigns, outcome.room), record))
    }

    fn commit(&mut self, id: u64, (answer, states, mut record): (Answer, Standing, Record), answered: Option<String>) {
        let Some(role) = self.roles.get_mut(&id) else { return };
        role.assigns = states.assigns.unwrap_or_default();
        role.holdings = record.holdings.clone();
        let topic = role.topic.clone();
        self.facts.stored = record.take_stored();
        self.save_room(&topic, states.room);
        last_seat(record.effects).into_iter().for_each(|effect| self.carry_out(id, effect));
        match answer {
            Answer::None => {}
            Answer::Reply(reply) => self.give(id, Came::Reply(answered, reply)),
            Answer::Stop(stop) => {
                if let Some(reply) = stop.reply {
                    self.give(id, Came::Reply(answered, reply));
                }
                self.end(id, "stopped", &stop.reason, Came::Close);
            }
        }
    }

    pub(super) fn fail(&mut self, id: u64, fault: &Fault, answered: Option<String>) {
        self.faults.push(fault.clone());
        let keeps =
            self.roles.get(&id).is_some_and(|role| self.terms(&role.topic).is_ok_and(|terms| terms.keeps_members));
        if !keeps {
            return self.end(id, "fault", fault.kind, Came::Error);
        }
        if answered.is_some() {
            let reply = Reply::error(json!({ "reason": "channel_crash" }));
            self.give(id, Came::Reply(answered, reply));
        }
    }

    /// Ends a member: its presences leave, it rises from its seat, and `terminate` runs.
    pub(super) fn end(&mut self, id: u64, cause: &str, detail: &str, last: Came) {
        let Some(topic) = self.exit(id, last) else { return };
        self.rise(id, ["left", "stopped"].contains(&cause));
        let Some(call) = self.route_of(id).map(|route| route.terminate) else { return };
        let ending = Ending { cause: cause.into(), detail: detail.into() };
        let turned = self.call(id, |member| {
            let room = call(member, ending)?;
            Ok(types::Outcome { assigns: None, room, answer: Answer::None })
        });
        match turned {
            Ok((_, states, mut record)) => {
                self.facts.stored = record.take_stored();
                self.save_room(&topic, states.room);
                let is_lasting = |effect: &Effect| !matches!(effect, Effect::Track(..) | Effect::TakeSeat(..));
                let lasting = record.effects.into_iter().filter(is_lasting);
                lasting.for_each(|effect| self.carry_out(id, effect));
            }
            Err(fault) => self.faults.push(fault),
        }
        self.rest(&topic);
    }

    /// Ends a member but for its `terminate`. Gives the topic that it was in.
    pub(super) fn exit(&mut self, id: u64, last: Came) -> Option<String> {
        let role = self.roles.get_mut(&id).filter(|role| role.is_in)?;
        role.is_in = false;
        let topic = role.topic.clone();
        self.note_people(&topic);
        self.tell_presences(&topic, |online| online.leave(&topic, id));
        self.give(id, last);
        Some(topic)
    }

    /// A callback of a topic, with its commit.
    pub(super) fn topic_turn(
        &mut self,
        topic: &str,
        callback: impl FnOnce(Room) -> Called<types::Outcome>,
    ) -> Result<Answer, Fault> {
        let record = Record::of_topic(self.facts_for(&Facts::default()));
        let standing = Standing { assigns: None, room: self.saved_room(topic) };
        let turned = self.ask(topic, &standing, record, |_, room| callback(room));
        let (answer, states, mut record) = turned.inspect_err(|fault| self.faults.push(fault.clone()))?;
        self.facts.stored = record.take_stored();
        self.save_room(topic, states.room);
        record.effects.into_iter().for_each(|effect| self.carry_out_elsewhere(topic, None, effect));
        Ok(answer)
    }
}
