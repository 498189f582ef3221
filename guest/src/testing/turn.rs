//! The turns of a member: a callback, its commit, and the next message.

use std::collections::VecDeque;
use std::marker::PhantomData;

use bennu_semantics as rules;
use bennu_semantics::{Callback, Effect, Ending, Message, RoomKind, RouteSpec, Source, Topic, TopicCallback};
use bennu_world as world;
use bennu_world::{
    CallRequest, Callbacks, Entries, Level, Remainder, Resources, Saved, StateSnapshot, Turn, ask, check_mailbox,
    take_due,
};

use super::member::ID;
use super::native::NativeRoutes;
use super::{Fault, Member, NotJoined, Outcome, Setup};
use crate::plugin::Route;
use crate::{Answer, Channel, Payload};

/// The log lines of a callback.
type LogLines = Vec<(Level, String)>;

impl<C: Channel> Member<C> {
    pub(super) fn join(setup: Setup, topic: &str, params: Payload) -> Result<Self, NotJoined> {
        let Setup { host, socket, room } = setup;
        let routes = NativeRoutes::of(Route::to::<C>("*"));
        let spec = &routes.routes()[0];
        let entries = (spec.room != RoomKind::None).then(Entries::default);
        let version = spec.room_version;
        let room = room.map(|bytes| Saved { bytes: bytes.into(), version });
        let mut member = Self {
            topic: Topic::new(topic),
            routes,
            host,
            socket,
            states: StateSnapshot { assigns: None, room, entries },
            waiting: VecDeque::new(),
            resources: Resources::default(),
            received: 0,
            joined: failed(rules::Fault::no_member(), Vec::new()),
            ended_by: None,
            channel: PhantomData,
        };
        let (asked, lines) = member.ask(&member.states.clone(), &member.request(Callback::Join(params.into())));
        let turn = asked.map_err(|fault| NotJoined::Fault(fault.into()))?;
        if let rules::Answer::Refuse(response) = turn.answer {
            return Err(NotJoined::Refused(response.into()));
        }
        member.joined = member.commit(turn, lines);
        Ok(member)
    }

    /// Calls a callback, and ends the member if that follows from it.
    #[track_caller]
    pub(super) fn turn(&mut self, callback: Callback) -> Outcome {
        self.check_lives();
        let mut outcome = self.call(callback);
        let (ended_by, ending) = match &outcome.answer {
            Ok(Answer::Stop(stop)) => (format!("a stop: {}", stop.reason), Ending::Stopped(stop.reason.clone())),
            Ok(_) => return outcome,
            Err(fault) => (format!("a fault: {fault}"), Ending::Fault(kind(fault))),
        };
        self.ended_by = Some(ended_by);
        outcome.ended = Some(Box::new(self.terminate(ending)));
        outcome
    }

    #[track_caller]
    pub(super) fn end(mut self, ending: Ending) -> Outcome {
        self.check_lives();
        self.terminate(ending)
    }

    #[track_caller]
    pub(super) fn check_lives(&self) {
        if let Some(ended_by) = &self.ended_by {
            panic!("the member of {:?} has ended before, by {ended_by}", self.topic.as_str());
        }
    }

    fn terminate(&mut self, ending: Ending) -> Outcome {
        // A member that has ended has no resources at the host, and the numbers of its timers begin again.
        self.resources = Resources::default();
        self.host.online.leave(self.topic.as_str(), ID);
        self.call(Callback::Terminate(ending))
    }

    /// Calls a callback, and commits its outcome.
    fn call(&mut self, callback: Callback) -> Outcome {
        self.run(&self.states.clone(), &self.request(callback))
    }

    /// Calls a callback of its topic, and commits its outcome.
    pub(super) fn topic_turn(&mut self, callback: TopicCallback) -> Outcome {
        let states = StateSnapshot { assigns: None, ..self.states.clone() };
        self.run(&states, &CallRequest::Topic(callback))
    }

    pub(super) fn spec(&self) -> RouteSpec {
        self.routes.routes()[0].clone()
    }

    fn request(&self, callback: Callback) -> CallRequest {
        CallRequest::Member { id: ID, socket: self.socket.clone(), usage: self.resources.usage(), callback }
    }

    fn ask(&mut self, states: &StateSnapshot, request: &CallRequest) -> (Result<Turn, rules::Fault>, LogLines) {
        let spec = self.spec();
        ask(&mut self.routes, &mut self.host, (&spec, &self.topic), states, request)
    }

    fn run(&mut self, states: &StateSnapshot, request: &CallRequest) -> Outcome {
        let (asked, lines) = self.ask(states, request);
        let checked = asked.and_then(|turn| {
            self.check_room_for(&turn.effects)?;
            Ok(turn)
        });
        match checked {
            Ok(turn) => self.commit(turn, lines),
            Err(fault) => failed(fault, lines),
        }
    }

    /// Checks that the member's queue has room for a call's messages to it.
    fn check_room_for(&self, effects: &[Effect]) -> Result<(), rules::Fault> {
        let waiting = self.waiting.iter().map(|message| message.event.len() + message.payload.len());
        let (count, bytes) = (waiting.len(), waiting.sum::<usize>());
        check_mailbox(effects, (count, bytes + self.resources.timer_bytes()))
    }

    fn commit(&mut self, turn: Turn, lines: LogLines) -> Outcome {
        let Turn { answer, states, effects, stored, entries } = turn;
        self.host.stored = stored;
        entries.into_iter().for_each(|entries| drop(entries.apply()));
        self.states = StateSnapshot { assigns: states.assigns.or(self.states.assigns.take()), ..states };
        effects.iter().for_each(|effect| self.carry_out(effect));
        Outcome { answer: Ok(answer.into()), effects, lines: shown(lines), ended: None }
    }

    /// Carries out an effect on the member itself.
    fn carry_out(&mut self, effect: &Effect) {
        match self.resources.carry_out((ID, &self.topic), &mut self.host, effect) {
            Remainder::Message(source, world::Sent { event, payload }) => {
                self.waiting.push_back(Message { source, topic: self.topic.clone(), event, payload });
            }
            Remainder::Presences(_) | Remainder::Nothing => {}
        }
    }

    /// Takes its next message up to a time, and advances the clock to it.
    pub(super) fn next_message(&mut self, until: u64) -> Option<Message> {
        if self.ended_by.is_some() {
            return None;
        }
        if let Some(message) = self.waiting.pop_front() {
            return Some(message);
        }
        let timer = take_due(&mut self.resources.timers, until, |timer| (timer.due, timer.id))?;
        self.host.now = self.host.now.max(timer.due);
        let world::Sent { event, payload } = timer.sent;
        Some(self.message(Source::Own, &event, payload.into()))
    }

    pub(super) fn message(&self, source: Source, event: &str, payload: Payload) -> Message {
        Message { source, topic: self.topic.clone(), event: event.into(), payload: payload.into() }
    }
}

/// The kind of a fault.
fn kind(fault: &Fault) -> rules::FaultKind {
    match fault.kind {
        "oversize" => rules::FaultKind::Oversize,
        "overflow" => rules::FaultKind::Overflow,
        "trap" => rules::FaultKind::Trap,
        _ => rules::FaultKind::Failed,
    }
}

fn failed(fault: rules::Fault, lines: LogLines) -> Outcome {
    Outcome { answer: Err(fault.into()), effects: Vec::new(), lines: shown(lines), ended: None }
}

fn shown(lines: LogLines) -> Vec<(crate::log::Level, String)> {
    lines.into_iter().map(|(level, line)| (level.into(), line)).collect()
}
