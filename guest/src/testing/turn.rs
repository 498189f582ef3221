//! The turns of a member: a callback, what it commits, and what it handles next.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::time::Duration;

use super::limits::{MAILBOX, MAILBOX_BYTES};
use super::member::ID;
use super::record::{MemberUsage, Record};
use super::saved::{Saved, StateSnapshot};
use super::terms::RouteTerms;
use super::{Effect, Fault, Member, NotJoined, Outcome, Sent, Setup, Timer, recorder, timers};
use crate::bindings::bennu::channel::types::{self, Admission, Membership};
use crate::callbacks::{self, Called, Room};
use crate::plugin::Route;
use crate::{Answer, Channel, Ending, Message, Payload, Reply, TimerId};

impl<C: Channel> Member<C> {
    pub(super) fn join(setup: Setup, topic: &str, params: Payload) -> Result<Self, NotJoined> {
        let Setup { facts, room } = setup;
        let terms = terms::<C>();
        let record = Record::of_member(facts, MemberUsage::default());
        let asked = || callbacks::join::<C>(ID, topic.into(), params, room.clone());
        let (admission, mut record) = recorder::run(record, asked);
        let admitted = match admission.map_err(NotJoined::Fault)? {
            Admission::Admitted(admitted) => admitted,
            Admission::Refused(response) => {
                record.check_refusal(&response).map_err(NotJoined::Fault)?;
                return Err(NotJoined::Refused(response));
            }
        };
        let outcome = types::Outcome {
            assigns: Some(admitted.assigns),
            room: admitted.room,
            answer: Answer::Reply(Reply::ok(admitted.response)),
        };
        record.check(&outcome, &terms).map_err(NotJoined::Fault)?;
        let room = room.map(|bytes| Saved { bytes, version: terms.room_version });
        let mut member = Self {
            topic: topic.into(),
            facts: record.facts.clone(),
            states: StateSnapshot { assigns: None, room },
            waiting: VecDeque::new(),
            timers: Vec::new(),
            holdings: MemberUsage::default(),
            received: 0,
            joined: Outcome { answer: Ok(Answer::None), effects: Vec::new(), lines: Vec::new(), ended: None },
            ended_by: None,
            channel: PhantomData,
        };
        let states = member.states.clone();
        member.joined = member.commit(outcome, record, states);
        Ok(member)
    }

    /// One callback, and the member's end if that follows from it.
    #[track_caller]
    pub(super) fn turn(&mut self, callback: impl FnOnce(Membership) -> Called<types::Outcome>) -> Outcome {
        self.check_lives();
        let mut outcome = self.call(callback);
        let (ended_by, ending) = match &outcome.answer {
            Ok(Answer::Stop(stop)) => (format!("a stop: {}", stop.reason), ending("stopped", &stop.reason)),
            Ok(_) => return outcome,
            Err(fault) => (format!("a fault: {fault}"), ending("fault", fault.kind)),
        };
        self.ended_by = Some(ended_by);
        outcome.ended = Some(Box::new(self.terminate(ending)));
        outcome
    }

    #[track_caller]
    pub(super) fn end(mut self, cause: &str) -> Outcome {
        self.check_lives();
        self.terminate(ending(cause, ""))
    }

    #[track_caller]
    pub(super) fn check_lives(&self) {
        if let Some(ended_by) = &self.ended_by {
            panic!("the member of {:?} has ended before, by {ended_by}", self.topic);
        }
    }

    fn terminate(&mut self, ending: Ending) -> Outcome {
        // A member that has ended has nothing at the host any more.
        self.timers.clear();
        self.holdings = MemberUsage::default();
        self.facts.online.leave(&self.topic, ID);
        self.call(|member| {
            let room = callbacks::terminate::<C>(member, ending)?;
            Ok(types::Outcome { assigns: None, room, answer: Answer::None })
        })
    }

    /// One callback, committed if it succeeds.
    fn call(&mut self, callback: impl FnOnce(Membership) -> Called<types::Outcome>) -> Outcome {
        let timers = self.timers.iter().map(|timer| timer.id.0).collect();
        let record = Record::of_member(self.facts.clone(), MemberUsage { timers, ..self.holdings.clone() });
        let topic = self.topic.clone();
        let states = self.states.clone();
        self.run(record, &states, |assigns, room| callback(Membership { id: ID, topic, assigns, room }))
    }

    /// One callback of its topic, committed if it succeeds.
    pub(super) fn topic_turn(&mut self, callback: impl FnOnce(String, Room) -> Called<Room>) -> Outcome {
        let topic = self.topic.clone();
        let mut record = Record::of_topic(self.facts.clone());
        record.holdings = self.holdings.clone();
        let states = StateSnapshot { assigns: None, room: self.states.room.clone() };
        self.run(record, &states, |_, room| {
            let room = callback(topic, room)?;
            Ok(types::Outcome { assigns: None, room, answer: Answer::None })
        })
    }

    fn run(
        &mut self,
        mut record: Record,
        states: &StateSnapshot,
        callback: impl FnOnce(Vec<u8>, Room) -> Called<types::Outcome>,
    ) -> Outcome {
        let terms = terms::<C>();
        let fitted = states.upgraded(&terms, &self.topic, &mut record.facts);
        self.facts.drawn = record.facts.drawn;
        let states = match fitted {
            Ok(states) => states,
            Err(fault) => return failed(fault, record),
        };
        let (result, mut record) = recorder::run(record, || {
            let (assigns, room) = states.clone().into_bytes();
            callback(assigns, room)
        });
        self.facts.drawn = record.facts.drawn;
        let checked = result.and_then(|outcome| {
            record.check(&outcome, &terms)?;
            self.check_room_for(&record.effects)?;
            Ok(outcome)
        });
        match checked {
            Ok(outcome) => self.commit(outcome, record, states),
            Err(fault) => failed(fault, record),
        }
    }

    /// Checks that the member's mailbox has room for what a call sends to it.
    fn check_room_for(&self, effects: &[Effect]) -> Result<(), Fault> {
        let waiting = self.waiting.iter().map(|message| message.event.len() + message.payload.len());
        let (count, bytes) = (waiting.len(), waiting.sum::<usize>());
        let timers: usize = self.timers.iter().map(|timer| timer.sent.bytes()).sum();
        check_mailbox(effects, (count, bytes + timers))
    }

    fn commit(&mut self, outcome: types::Outcome, mut record: Record, states: StateSnapshot) -> Outcome {
        let types::Outcome { assigns, room, answer } = outcome;
        self.facts.stored = record.take_stored();
        let states = states.and(&terms::<C>(), assigns, room);
        self.states = StateSnapshot { assigns: states.assigns.or(self.states.assigns.take()), ..states };
        self.holdings = record.holdings;
        for effect in &record.effects {
            self.carry_out(effect);
        }
        Outcome { answer: Ok(answer), effects: record.effects, lines: record.lines, ended: None }
    }

    /// What an effect does to the member itself.
    fn carry_out(&mut self, effect: &Effect) {
        match effect {
            Effect::SendSelf(sent) => self.waiting.push_back(self.message("self", sent.clone())),
            Effect::SendAfter(id, after, sent) => self.set_timer(*id, *after, sent.clone()),
            Effect::Cancel(id) => self.timers.retain(|timer| timer.id != *id),
            Effect::Track(key, meta) => drop(self.facts.online.track(&self.topic, ID, key, meta)),
            Effect::UpdatePresence(key, meta) => drop(self.facts.online.update(&self.topic, ID, key, meta)),
            Effect::Untrack(key) => drop(self.facts.online.untrack(&self.topic, ID, key)),
            _ => {}
        }
    }

    fn set_timer(&mut self, id: TimerId, after: Duration, sent: Sent) {
        let due = self.facts.now.saturating_add(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        self.timers.push(Timer { id, due, sent });
    }

    /// What it handles next, up to a point in time, which the clock reaches by it.
    pub(super) fn next_message(&mut self, until: u64) -> Option<Message> {
        if self.ended_by.is_some() {
            return None;
        }
        if let Some(message) = self.waiting.pop_front() {
            return Some(message);
        }
        let timer = timers::take_due(&mut self.timers, until)?;
        self.facts.now = self.facts.now.max(timer.due);
        Some(self.message("self", timer.sent))
    }

    pub(super) fn message(&self, source: &str, Sent { event, payload }: Sent) -> Message {
        Message { source: source.into(), topic: self.topic.clone(), event, payload }
    }
}

/// Checks that a member's mailbox, in which so many messages and bytes are, has room for what a call sends to the member itself.
pub(super) fn check_mailbox(effects: &[Effect], (mut count, mut bytes): (usize, usize)) -> Result<(), Fault> {
    for effect in effects {
        match effect {
            Effect::SendSelf(sent) => {
                count += 1;
                bytes += sent.bytes();
            }
            Effect::SendAfter(_, _, sent) => bytes += sent.bytes(),
            _ => {}
        }
    }
    if count > MAILBOX || bytes > MAILBOX_BYTES { Err(Fault::overflow()) } else { Ok(()) }
}

fn terms<C: Channel>() -> RouteTerms {
    RouteTerms::of(&Route::to::<C>("*"))
}

fn ending(cause: &str, detail: &str) -> Ending {
    Ending { cause: cause.into(), detail: detail.into() }
}

fn failed(fault: Fault, record: Record) -> Outcome {
    Outcome { answer: Err(fault), effects: Vec::new(), lines: record.lines, ended: None }
}
