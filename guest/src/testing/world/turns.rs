//! The turns of a stage: a callback and its commit, or its fault.

use super::super::facts::Facts;
use super::super::record::{MemberUsage, Record};
use super::super::saved::StateSnapshot;
use super::super::{Fault, NotJoined, recorder};
use super::queue::TurnQueue;
use super::seats::last_seat;
use super::{Came, Role, World};
use crate::bindings::bennu::channel::types::{self, Admission, Membership};
use crate::callbacks::{Called, Room};
use crate::{Answer, Ending, Message, Payload, Reply, json};

/// What a callback of a member has come to: what it gave, and the states that it leaves.
type TurnResult = Result<(Answer, StateSnapshot, Record), Fault>;

impl World {
    /// A join, with its commit, on a connection. A client at the level of frames is answered by a message of this ref.
    pub(super) fn admit(
        &mut self,
        who: Facts,
        topic: &str,
        params: Payload,
        (socket, answered): (u64, Option<&String>),
    ) -> Result<u64, NotJoined> {
        let call = self.route(topic).map_err(NotJoined::Fault)?.join;
        self.numbered += 1;
        let id = self.numbered;
        self.line = Some(TurnQueue::Topic(topic.into()));
        self.open_room(topic);
        let asked = self.ask_to_join(&who, topic, |room| call(id, topic.into(), params, room));
        let (response, states, record) = match asked {
            Ok(admitted) => admitted,
            Err(not_joined) => {
                self.faults.extend(not_joined.fault().cloned());
                return Err(not_joined);
            }
        };
        self.roles.insert(id, Role::new(topic, response.clone(), who, socket));
        self.line = self.line_of(id);
        self.note_people(topic);
        if let Some(reference) = answered {
            self.give(id, Came::Reply(reference.clone(), Reply::ok(response)));
        }
        self.show_state(id);
        self.commit(id, (Answer::None, states, record), None);
        self.end_turn();
        Ok(id)
    }

    /// Asks whether a client may join, and with which response.
    fn ask_to_join(
        &mut self,
        who: &Facts,
        topic: &str,
        call: impl FnOnce(Room) -> Called<Admission>,
    ) -> Result<(Payload, StateSnapshot, Record), NotJoined> {
        let standing = StateSnapshot { assigns: None, room: self.saved_room(topic) };
        let record = Record::of_member(self.facts_for(who), MemberUsage::default());
        let mut refused = None;
        let turned = self.ask(topic, &standing, record, |_, room| {
            Ok(match call(room)? {
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
        let (answer, states, mut record) = turned.map_err(NotJoined::Fault)?;
        if let Some(response) = refused {
            record.check_refusal(&response).map_err(NotJoined::Fault)?;
            return Err(NotJoined::Refused(response));
        }
        self.check_room_for(None, &record.effects).map_err(NotJoined::Fault)?;
        let response = if let Answer::Reply(reply) = answer { reply.payload } else { crate::output::empty() };
        Ok((response, states, record))
    }

    /// The client of a member that is in sends an event. Without a ref, which is `null`, it can't be answered later, and a reply
    /// has no ref either.
    pub(super) fn handle_in(&mut self, id: u64, event: &str, payload: Payload, reference: String) {
        let Some(call) = self.route_of(id).map(|route| route.handle_in) else { return };
        self.line = self.line_of(id);
        let reply_ref = Some(reference.clone()).filter(|reference| reference != "null");
        self.turn(id, |member| call(member, event, payload, reply_ref), Some(reference));
        self.end_turn();
        self.settle();
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
        let turned = self.call(id, callback).and_then(|turned| {
            let (answer, _, record) = &turned;
            if matches!(answer, Answer::Reply(_)) && answered.is_none() {
                return Err(Fault::unanswerable());
            }
            self.check_room_for(Some(id), &record.effects)?;
            Ok(turned)
        });
        match turned {
            Ok(turned) => self.commit(id, turned, answered),
            Err(fault) => self.fail(id, &fault, answered),
        }
    }

    fn call(&mut self, id: u64, callback: impl FnOnce(Membership) -> Called<types::Outcome>) -> TurnResult {
        let role = &self.roles[&id];
        let timers = role.timers.iter().map(|timer| timer.id.0).collect();
        let holdings = MemberUsage { timers, topics: role.hears.clone(), ..role.holdings.clone() };
        let record = Record::of_member(self.facts_for(&role.facts), holdings);
        let (topic, room) = (role.topic.clone(), self.saved_room(&role.topic));
        let standing = StateSnapshot { assigns: Some(role.assigns.clone()), room };
        self.ask(&topic.clone(), &standing, record, |assigns, room| callback(Membership { id, topic, assigns, room }))
    }

    /// Runs a callback on states, which are upgraded first where they are of another version.
    fn ask(
        &mut self,
        topic: &str,
        standing: &StateSnapshot,
        mut record: Record,
        callback: impl FnOnce(Vec<u8>, Room) -> Called<types::Outcome>,
    ) -> TurnResult {
        let terms = self.terms(topic)?;
        let fitted = standing.upgraded(&terms, topic, &mut record.facts);
        self.facts.drawn = record.facts.drawn;
        let states = fitted?;
        let (result, mut record) = recorder::run(record, || {
            let (assigns, room) = states.clone().into_bytes();
            callback(assigns, room)
        });
        self.facts.drawn = record.facts.drawn;
        let outcome = result?;
        record.check(&outcome, &terms)?;
        Ok((outcome.answer, states.and(&terms, outcome.assigns, outcome.room), record))
    }

    fn commit(
        &mut self,
        id: u64,
        (answer, states, mut record): (Answer, StateSnapshot, Record),
        answered: Option<String>,
    ) {
        let Some(role) = self.roles.get_mut(&id) else { return };
        role.assigns = states.assigns.unwrap_or_default();
        role.holdings = record.holdings.clone();
        let topic = role.topic.clone();
        self.facts.stored = record.take_stored();
        self.save_room(&topic, states.room);
        last_seat(record.effects).into_iter().for_each(|effect| self.carry_out(id, effect));
        let reply = |reply| answered.map(|to| Came::Reply(to, reply));
        match answer {
            Answer::None => {}
            Answer::Reply(answer) => reply(answer).into_iter().for_each(|came| self.give(id, came)),
            Answer::Stop(stop) => {
                let last = stop.reply.and_then(reply);
                self.end(id, "stopped", &stop.reason, last);
            }
        }
    }

    pub(super) fn fail(&mut self, id: u64, fault: &Fault, answered: Option<String>) {
        self.faults.push(fault.clone());
        let keeps =
            self.roles.get(&id).is_some_and(|role| self.terms(&role.topic).is_ok_and(|terms| terms.keeps_members));
        if !keeps {
            return self.end(id, "fault", fault.kind, None);
        }
        if let Some(to) = answered {
            let reply = Reply::error(json!({ "reason": "channel_crash" }));
            self.give(id, Came::Reply(to, reply));
        }
    }

    /// Ends a member: its presences leave, it rises from its seat, and `terminate` runs. Its client is told that it has ended
    /// after a last reply, but of a fault only once `terminate` has run.
    pub(super) fn end(&mut self, id: u64, cause: &str, detail: &str, last: Option<Came>) {
        let Some(topic) = self.exit(id) else { return };
        let is_for_good = ["left", "stopped"].contains(&cause);
        let close = is_for_good.then_some(Came::Close);
        last.into_iter().chain(close).for_each(|came| self.give(id, came));
        self.rise(id, is_for_good);
        self.terminate(id, &topic, Ending { cause: cause.into(), detail: detail.into() });
        if cause == "fault" {
            self.give(id, Came::Error);
        }
        self.rest(&topic);
    }

    /// The last callback of a member. What it asks for is done, as far as a member that is gone can have it done.
    fn terminate(&mut self, id: u64, topic: &str, ending: Ending) {
        let Some(call) = self.route_of(id).map(|route| route.terminate) else { return };
        let turned = self.call(id, |member| {
            let room = call(member, ending)?;
            Ok(types::Outcome { assigns: None, room, answer: Answer::None })
        });
        match turned {
            Ok((_, states, mut record)) => {
                self.facts.stored = record.take_stored();
                self.save_room(topic, states.room);
                record.effects.into_iter().for_each(|effect| self.carry_out(id, effect));
            }
            Err(fault) => self.faults.push(fault),
        }
    }

    /// Ends a member but for its `terminate`. Gives the topic that it was in.
    pub(super) fn exit(&mut self, id: u64) -> Option<String> {
        let role = self.roles.get_mut(&id).filter(|role| role.is_in)?;
        role.is_in = false;
        role.hears.clear();
        role.timers.clear();
        role.holdings = MemberUsage::default();
        let topic = role.topic.clone();
        self.note_people(&topic);
        self.tell_presences(&topic, |online| online.leave(&topic, id));
        Some(topic)
    }

    /// A callback of a topic, with its commit.
    pub(super) fn topic_turn(
        &mut self,
        topic: &str,
        callback: impl FnOnce(Room) -> Called<types::Outcome>,
    ) -> Result<Answer, Fault> {
        let record = Record::of_topic(self.facts_for(&Facts::default()));
        let standing = StateSnapshot { assigns: None, room: self.saved_room(topic) };
        let turned = self.ask(topic, &standing, record, |_, room| callback(room)).and_then(|turned| {
            self.check_room_for(None, &turned.2.effects)?;
            Ok(turned)
        });
        let (answer, states, mut record) = turned.inspect_err(|fault| self.faults.push(fault.clone()))?;
        self.facts.stored = record.take_stored();
        self.save_room(topic, states.room);
        record.effects.into_iter().for_each(|effect| self.carry_out_elsewhere(topic, None, effect));
        Ok(answer)
    }
}
