//! What is behind a stage: the members, and what each callback does to them.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::time::Duration;

use super::facts::{Facts, Reach};
use super::record::{Holdings, Record, check_object};
use super::{Effect, Fault, NotJoined, Sent, Timer, recorder, timers};
use crate::bindings::bennu::channel::types::{self, Admission, Membership};
use crate::bindings::exports::bennu::channel::handle_out::Recipient;
use crate::plugin::Route;
use crate::route::find;
use crate::topics::Person;
use crate::{Answer, Decision, Ending, Message, Payload, Reply, TimerId, Value, json};

/// What the members of a stage may send to one another before it is taken for endless.
const DELIVERIES: usize = 100_000;

/// What came to a client.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Came {
    /// A reply, to the message of this ref.
    Reply(Option<String>, Reply),
    /// An event for this member alone.
    Push(Sent),
    /// An event for the topic.
    Broadcast(Sent),
    /// The member's end in order.
    Close,
    /// The member's end by a fault.
    Error,
    /// The connection's end.
    Disconnected,
}

/// A member, or what is left of it for its test to look at.
pub(super) struct Seat {
    pub(super) topic: String,
    pub(super) came: VecDeque<Came>,
    pub(super) response: Payload,
    pub(super) is_in: bool,
    pub(super) assigns: Vec<u8>,
    received: u64,
    facts: Facts,
    holdings: Holdings,
    timers: Vec<Timer>,
    waiting: VecDeque<Message>,
}

/// A host with its members.
#[derive(Default)]
pub(super) struct World {
    routes: Vec<Route>,
    pub(super) facts: Facts,
    pub(super) reach: Reach,
    pub(super) seats: BTreeMap<u64, Seat>,
    pub(super) faults: Vec<Fault>,
    rooms: BTreeMap<String, Vec<u8>>,
}

impl World {
    pub(super) fn add_route(&mut self, route: Route) {
        self.reach.own.push(route.describe().pattern);
        self.routes.push(route);
    }

    pub(super) fn join(&mut self, who: Facts, topic: &str, params: Payload) -> Result<u64, NotJoined> {
        let id = self.seats.keys().next_back().map_or(1, |last| last + 1);
        let call = find(&self.routes, topic).map_err(|why| NotJoined::Fault(Fault::failed(why)))?.join;
        let room = self.rooms.get(topic).cloned();
        let record = Record::of_member(self.facts_for(&who), Holdings::default());
        let (admission, mut record) = recorder::run(record, || call(id, topic.into(), params, room));
        self.facts.drawn = record.facts.drawn;
        let admitted = match admission.map_err(NotJoined::Fault)? {
            Admission::Admitted(admitted) => admitted,
            Admission::Refused(response) => return Err(NotJoined::Refused(response)),
        };
        let response = admitted.response;
        let answer = Answer::Reply(Reply::ok(response.clone()));
        let outcome = types::Outcome { assigns: Some(admitted.assigns), room: admitted.room, answer: answer.clone() };
        record.check(&outcome).map_err(NotJoined::Fault)?;
        let seat = Seat {
            topic: topic.into(),
            came: VecDeque::new(),
            response,
            is_in: true,
            assigns: Vec::new(),
            received: 0,
            facts: who,
            holdings: Holdings::default(),
            timers: Vec::new(),
            waiting: VecDeque::new(),
        };
        self.seats.insert(id, seat);
        self.note_people(topic);
        self.commit(id, types::Outcome { answer: Answer::None, ..outcome }, record, None);
        self.settle();
        Ok(id)
    }

    /// The client of a member sends an event. Gives its ref.
    pub(super) fn push(&mut self, id: u64, event: &str, payload: Payload) -> Option<String> {
        let seat = self.seats.get_mut(&id).filter(|seat| seat.is_in)?;
        seat.received += 1;
        let reference = format!("\"{}\"", seat.received);
        let reply_ref = Some(reference.clone());
        let call = self.route_of(id)?.handle_in;
        let answered = reply_ref.clone();
        self.turn(id, |member| call(member, event, payload, reply_ref), answered);
        self.settle();
        Some(reference)
    }

    /// A member's client leaves.
    pub(super) fn leave(&mut self, id: u64) {
        let was_in = self.seats.get(&id).is_some_and(|seat| seat.is_in);
        if was_in {
            self.end(id, "left", "", Came::Close);
            self.settle();
        }
    }

    /// A member's connection ends.
    pub(super) fn close(&mut self, id: u64) {
        self.end(id, "closed", "", Came::Disconnected);
        self.settle();
    }

    pub(super) fn disconnect(&mut self, socket_id: &str) {
        let has_it = |seat: &Seat| seat.is_in && seat.facts.socket_id.as_deref() == Some(socket_id);
        let ids: Vec<u64> = self.seats.iter().filter(|(_, seat)| has_it(seat)).map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.end(id, "closed", "", Came::Disconnected));
    }

    /// Something for a topic's `handle_message`.
    pub(super) fn send(&mut self, topic: &str, sent: Sent) -> Result<Option<Reply>, Fault> {
        let call = find(&self.routes, topic).map_err(Fault::failed)?.handle_message;
        let room = self.rooms.get(topic).cloned();
        let record = Record::of_topic(self.facts_for(&Facts::default()));
        let (outcome, record) = recorder::run(record, || call(topic.into(), &sent.event, sent.payload, room));
        self.facts.drawn = record.facts.drawn;
        let outcome = outcome.inspect_err(|fault| self.faults.push(fault.clone()))?;
        self.rooms.extend(outcome.room.map(|room| (topic.to_owned(), room)));
        record.effects.into_iter().for_each(|effect| self.carry_out_elsewhere(topic, None, effect));
        Ok(outcome.reply)
    }

    /// An event to all members of a topic, through `handle_out` where their channel intercepts it, and to those who listen.
    pub(super) fn broadcast(&mut self, topic: &str, sent: &Sent, except: Option<u64>) {
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

    /// Handles what waits for members, until nothing does.
    pub(super) fn settle(&mut self) {
        for _ in 0..DELIVERIES {
            let waiting = self.seats.iter_mut().filter(|(_, seat)| seat.is_in);
            let next = waiting.filter_map(|(id, seat)| Some((*id, seat.waiting.pop_front()?))).next();
            let Some((id, message)) = next else { return };
            self.info(id, message);
        }
        panic!("the members sent {DELIVERIES} messages, and go on");
    }

    pub(super) fn advance(&mut self, time: Duration) {
        let until = self.facts.now.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        loop {
            let seats = self.seats.iter().filter(|(_, seat)| seat.is_in);
            let first = seats.flat_map(|(id, seat)| seat.timers.iter().map(|timer| (timer.due, *id))).min();
            let Some((due, id)) = first.filter(|(due, _)| *due <= until) else { break };
            self.facts.now = self.facts.now.max(due);
            let Some(seat) = self.seats.get_mut(&id) else { break };
            if let Some(Timer { sent: Sent { event, payload }, .. }) = timers::take_due(&mut seat.timers, until) {
                let topic = seat.topic.clone();
                self.info(id, Message { source: "self".into(), topic, event, payload });
            }
            self.settle();
        }
        self.facts.now = until;
    }

    fn info(&mut self, id: u64, message: Message) {
        let Some(call) = self.route_of(id).map(|route| route.handle_info) else { return };
        self.turn(id, |member| call(member, message), None);
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
        let recipients = [Recipient { member: id, assigns: seat.assigns.clone() }];
        let record = Record::reading(self.facts_for(&Facts::default()));
        let asked = || call(&seat.topic, &sent.event, &sent.payload, &recipients);
        let decision = recorder::run(record, asked).0?.pop().unwrap_or(Decision::Pass);
        if let Decision::Replace(payload) = &decision {
            check_object(payload).map_err(Fault::failed)?;
        }
        Ok(decision)
    }

    /// One callback of a member, with its commit, or its end.
    fn turn(
        &mut self,
        id: u64,
        callback: impl FnOnce(Membership) -> Result<types::Outcome, String>,
        answered: Option<String>,
    ) {
        let (result, mut record) = self.call(id, callback);
        match result.and_then(|outcome| record.check(&outcome).map(|()| outcome)) {
            Ok(outcome) => self.commit(id, outcome, record, answered),
            Err(fault) => self.fail(id, &fault, answered),
        }
    }

    fn call(
        &mut self,
        id: u64,
        callback: impl FnOnce(Membership) -> Result<types::Outcome, String>,
    ) -> (Result<types::Outcome, Fault>, Record) {
        let seat = &self.seats[&id];
        let timers = seat.timers.iter().map(|timer| timer.id.0).collect();
        let record = Record::of_member(self.facts_for(&seat.facts), Holdings { timers, ..seat.holdings.clone() });
        let (topic, assigns, room) = (seat.topic.clone(), seat.assigns.clone(), self.rooms.get(&seat.topic).cloned());
        let (result, record) = recorder::run(record, || callback(Membership { id, topic, assigns, room }));
        self.facts.drawn = record.facts.drawn;
        (result, record)
    }

    fn commit(&mut self, id: u64, outcome: types::Outcome, record: Record, answered: Option<String>) {
        let types::Outcome { assigns, room, answer } = outcome;
        let Some(seat) = self.seats.get_mut(&id) else { return };
        seat.assigns = assigns.unwrap_or_else(|| mem::take(&mut seat.assigns));
        seat.holdings = record.holdings;
        let topic = seat.topic.clone();
        self.rooms.extend(room.map(|room| (topic, room)));
        record.effects.into_iter().for_each(|effect| self.carry_out(id, effect));
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

    fn fail(&mut self, id: u64, fault: &Fault, answered: Option<String>) {
        self.faults.push(fault.clone());
        let options = self.route_of(id).map(|route| route.describe().options).unwrap_or_default();
        if options.iter().any(|option| option.name == "on-fault" && option.value == "keep") {
            if answered.is_some() {
                let reply = Reply::error(json!({ "reason": "channel_crash" }));
                self.give(id, Came::Reply(answered, reply));
            }
            return;
        }
        self.end(id, "fault", fault.kind, Came::Error);
    }

    /// Ends a member: its presences leave, and `terminate` runs.
    fn end(&mut self, id: u64, cause: &str, detail: &str, last: Came) {
        let Some(seat) = self.seats.get_mut(&id).filter(|seat| seat.is_in) else { return };
        seat.is_in = false;
        let topic = seat.topic.clone();
        self.note_people(&topic);
        if let Some(diff) = self.facts.online.leave(&topic, id) {
            self.broadcast(&topic, &presence("presence_diff", &diff), None);
        }
        self.give(id, last);
        let Some(call) = self.route_of(id).map(|route| route.terminate) else { return };
        let ending = Ending { cause: cause.into(), detail: detail.into() };
        let (result, record) = self.call(id, |member| {
            let room = call(member, ending)?;
            Ok(types::Outcome { assigns: None, room, answer: Answer::None })
        });
        match result {
            Ok(outcome) => {
                self.rooms.extend(outcome.room.map(|room| (topic, room)));
                let lasting = record.effects.into_iter().filter(|effect| !matches!(effect, Effect::Track(..)));
                lasting.for_each(|effect| self.carry_out(id, effect));
            }
            Err(fault) => self.faults.push(fault),
        }
    }

    fn carry_out(&mut self, id: u64, effect: Effect) {
        let Some(seat) = self.seats.get_mut(&id) else { return };
        let topic = seat.topic.clone();
        match effect {
            Effect::Push(sent) => self.give(id, Came::Push(sent)),
            Effect::BroadcastFrom(sent) => self.broadcast(&topic, &sent, Some(id)),
            Effect::Reply(to, reply) => self.give(id, Came::Reply(Some(to.0), reply)),
            Effect::SendSelf(Sent { event, payload }) => {
                seat.waiting.push_back(Message { source: "self".into(), topic, event, payload });
            }
            Effect::SendAfter(timer, after, sent) => {
                let due = self.facts.now.saturating_add(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
                seat.holdings.next_timer = seat.holdings.next_timer.max(timer.0 + 1);
                seat.timers.push(Timer { id: timer, due, sent });
            }
            Effect::Cancel(TimerId(timer)) => seat.timers.retain(|other| other.id.0 != timer),
            Effect::Track(key, meta) => {
                let diff = self.facts.online.track(&topic, id, &key, &meta);
                self.broadcast(&topic, &presence("presence_diff", &diff), None);
            }
            Effect::UpdatePresence(key, meta) => {
                if let Some(diff) = self.facts.online.update(&topic, id, &key, &meta) {
                    self.broadcast(&topic, &presence("presence_diff", &diff), None);
                }
            }
            Effect::Untrack(key) => {
                if let Some(diff) = self.facts.online.untrack(&topic, id, &key) {
                    self.broadcast(&topic, &presence("presence_diff", &diff), None);
                }
            }
            Effect::PushPresence => {
                let state = self.facts.online.state(&topic);
                self.give(id, Came::Push(presence("presence_state", &state)));
            }
            // What it hears is among its holdings.
            Effect::Subscribe(_) | Effect::Unsubscribe(_) => {}
            elsewhere => self.carry_out_elsewhere(&topic, Some(id), elsewhere),
        }
    }

    /// The effects that need no member.
    fn carry_out_elsewhere(&mut self, own: &str, sender: Option<u64>, effect: Effect) {
        match effect {
            Effect::Broadcast(sent) => self.broadcast(own, &sent, None),
            Effect::Publish(topic, sent) => self.broadcast(&topic, &sent, None),
            Effect::Disconnect(socket_id) => self.disconnect(&socket_id),
            Effect::Send(topic, sent) => {
                let event = sent.event.clone();
                let answer = self.send(&topic, sent);
                let seat = sender.and_then(|id| self.seats.get_mut(&id));
                if let (Ok(Some(reply)), Some(seat)) = (answer, seat) {
                    let payload = as_message(reply);
                    seat.waiting.push_back(Message { source: "answer".into(), topic, event, payload });
                }
            }
            _ => {}
        }
    }

    fn give(&mut self, id: u64, came: Came) {
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.came.push_back(came);
        }
    }

    fn route_of(&self, id: u64) -> Option<&Route> {
        find(&self.routes, &self.seats.get(&id)?.topic).ok()
    }

    /// What a callback of a socket reads: the host's own, with what is the socket's.
    fn facts_for(&self, socket: &Facts) -> Facts {
        let Facts { socket_id, user, claims, connect_params, x_headers, .. } = socket.clone();
        let reach = Some(self.reach.clone());
        Facts { socket_id, user, claims, connect_params, x_headers, reach, ..self.facts.clone() }
    }

    fn note_people(&mut self, topic: &str) {
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

fn presence(event: &str, payload: &Value) -> Sent {
    Sent { event: event.into(), payload: Payload::Json(payload.to_string()) }
}

/// A reply as `handle_info` gets it.
fn as_message(reply: Reply) -> Payload {
    match reply.payload {
        Payload::Json(response) => {
            let status = Value::from(reply.status);
            Payload::Json(format!("{{\"status\":{status},\"response\":{response}}}"))
        }
        bytes @ Payload::Binary(_) => bytes,
    }
}
