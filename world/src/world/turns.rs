//! Turns: a callback with its commit, or its fault.

use bennu_semantics::{
    Answer, Callback, Departure, Effect, Ending, Fault, Follows, MemberUsage, Message, OnFault, Payload, Reply, Topic,
    TopicCallback,
};

use super::queue::TurnQueue;
use super::sockets::error;
use super::{NotJoined, Received, Role, World};
use crate::turn::{CallRequest, Turn, ask};
use crate::{Callbacks, Resources, SocketFacts, StateSnapshot};

impl<C: Callbacks> World<C> {
    /// A join on a connection, with its commit. `answered` is the ref of the join message of a client at the level of
    /// frames.
    pub(super) fn admit(
        &mut self,
        who: SocketFacts,
        topic: &Topic,
        params: Payload,
        (client, answered): (u64, Option<&String>),
    ) -> Result<u64, NotJoined> {
        self.served(topic).map_err(NotJoined::Fault)?;
        self.numbered += 1;
        let id = self.numbered;
        self.current = Some(TurnQueue::Topic(topic.clone()));
        self.open_room(topic);
        let request = CallRequest::Member {
            id,
            socket: who.clone(),
            usage: MemberUsage::default(),
            callback: Callback::Join(params),
        };
        let standing = self.states(topic, None);
        let asked = self.ask(topic, &standing, &request).and_then(|turn| {
            self.check_room_for(None, &turn.effects)?;
            Ok(turn)
        });
        let turn = match asked {
            Ok(Turn { answer: Answer::Refuse(response), .. }) => return Err(NotJoined::Refused(response)),
            Ok(turn) => turn,
            Err(fault) => {
                self.faults.push(fault.clone());
                return Err(NotJoined::Fault(fault));
            }
        };
        let response = if let Answer::Admit(response) = &turn.answer { response.clone() } else { Payload::EMPTY };
        self.roles.insert(id, Role::new(topic, response.clone(), who, client));
        self.current = self.queue_of(id);
        self.note_people(topic);
        if let Some(reference) = answered {
            self.give(id, Received::Reply(reference.clone(), Reply { status: "ok".into(), payload: response }));
        }
        self.show_state(id);
        let followed = Follows::after_join(&turn.effects);
        self.show_entries(id, followed.as_ref());
        self.commit(id, Turn { answer: Answer::None, ..turn }, None);
        self.end_turn();
        Ok(id)
    }

    /// A member's client sends an event. If its ref is `null`, it can't be answered later, and a reply has no ref.
    pub(super) fn handle_in(&mut self, id: u64, event: &str, payload: Payload, reference: String) {
        self.current = self.queue_of(id);
        let reply_ref = Some(reference.as_str()).filter(|reference| *reference != "null").map(Into::into);
        self.turn(id, Callback::In { event: event.into(), payload, reply_ref }, Some(reference));
        self.end_turn();
        self.settle();
    }

    pub(super) fn info(&mut self, id: u64, message: Message) {
        self.turn(id, Callback::Info(message), None);
    }

    /// One callback of a member, with its commit, or its end.
    fn turn(&mut self, id: u64, callback: Callback, answered: Option<String>) {
        let turned = self.call(id, callback).and_then(|turn| {
            if matches!(turn.answer, Answer::Reply(_)) && answered.is_none() {
                return Err(Fault::unanswerable());
            }
            self.check_room_for(Some(id), &turn.effects)?;
            Ok(turn)
        });
        match turned {
            Ok(turn) => self.commit(id, turn, answered),
            Err(fault) => self.fail(id, &fault, answered),
        }
    }

    fn call(&mut self, id: u64, callback: Callback) -> Result<Turn, Fault> {
        let Some(role) = self.roles.get(&id) else { return Err(Fault::no_member()) };
        let usage = role.resources.usage();
        let (topic, socket) = (role.topic.clone(), role.facts.clone());
        let standing = self.states(&topic, Some(role.assigns.clone()));
        self.ask(&topic, &standing, &CallRequest::Member { id, socket, usage, callback })
    }

    /// Calls a callback with these states.
    fn ask(&mut self, topic: &Topic, standing: &StateSnapshot, request: &CallRequest) -> Result<Turn, Fault> {
        let spec = self.served(topic)?;
        self.settle_published(topic);
        self.limit_reach();
        ask(&mut self.callbacks, &mut self.host, (&spec, topic), standing, request).0
    }

    fn commit(&mut self, id: u64, turn: Turn, answered: Option<String>) {
        let Turn { answer, states, effects, stored, entries } = turn;
        let Some(role) = self.roles.get_mut(&id) else { return };
        role.assigns = states.assigns.unwrap_or_default();
        let topic = role.topic.clone();
        self.host.stored = stored;
        self.save_room(&topic, states.room, entries);
        self.carry_out(&topic, Some(id), effects);
        let reply = |reply| answered.map(|to| Received::Reply(to, reply));
        match answer {
            Answer::None | Answer::Admit(_) | Answer::Refuse(_) => {}
            Answer::Reply(answer) => reply(answer).into_iter().for_each(|received| self.give(id, received)),
            Answer::Stop(stop) => {
                let last = stop.reply.and_then(reply);
                self.end(id, Ending::Stopped(stop.reason), last);
            }
        }
        self.show_followed(id);
    }

    pub(super) fn fail(&mut self, id: u64, fault: &Fault, answered: Option<String>) {
        self.faults.push(fault.clone());
        let spec = self.roles.get(&id).and_then(|role| self.spec(&role.topic));
        if spec.is_none_or(|spec| spec.on_fault == OnFault::End) {
            return self.end(id, Ending::Fault(fault.kind), None);
        }
        if let Some(to) = answered {
            self.give(id, Received::Reply(to, error(Payload::reason("channel_crash"))));
        }
    }

    /// Ends a member: removes its presences, takes its seat, and calls `terminate`. Its client gets the last reply and
    /// `phx_close` before `terminate`, but `phx_error` after it.
    pub(super) fn end(&mut self, id: u64, ending: Ending, last: Option<Received>) {
        let Some(topic) = self.exit(id) else { return };
        let departure = Departure::from(&ending);
        let close = (departure == Departure::Leaves).then_some(Received::Close);
        last.into_iter().chain(close).for_each(|received| self.give(id, received));
        self.rise(id, departure);
        let is_fault = matches!(ending, Ending::Fault(_));
        self.terminate(id, &topic, ending);
        if is_fault {
            self.give(id, Received::Error);
        }
        self.rest(&topic);
    }

    /// The last callback of a member. Its effects on the member's own state are ignored.
    fn terminate(&mut self, id: u64, topic: &Topic, ending: Ending) {
        match self.call(id, Callback::Terminate(ending)) {
            Ok(Turn { states, effects, stored, entries, .. }) => {
                self.host.stored = stored;
                self.save_room(topic, states.room, entries);
                self.carry_out(topic, Some(id), effects);
            }
            Err(fault) => self.faults.push(fault),
        }
    }

    /// Ends a member, without its `terminate`. Returns its topic.
    pub(super) fn exit(&mut self, id: u64) -> Option<Topic> {
        let role = self.roles.get_mut(&id).filter(|role| role.is_in)?;
        role.is_in = false;
        // As on a host, the numbers of timers begin again too: a timer of `terminate` gets the number 0.
        role.resources = Resources::default();
        let topic = role.topic.clone();
        if let (Some(view), Some(room)) = (role.view.take(), self.rooms.get_mut(&topic)) {
            room.views.leave(id, view);
        }
        self.note_people(&topic);
        let left = self.host.online.leave(topic.as_str(), id);
        self.tell_presences(&topic, left);
        Some(topic)
    }

    /// A callback of a topic, with its commit.
    pub(super) fn topic_turn(&mut self, topic: &Topic, callback: TopicCallback) -> Result<Answer, Fault> {
        self.topic_turn_that_may_wait(topic, callback).map(|(answer, _)| answer)
    }

    /// The same. Also returns whether the callback took the name of its message, for a later answer.
    pub(super) fn topic_turn_that_may_wait(
        &mut self,
        topic: &Topic,
        callback: TopicCallback,
    ) -> Result<(Answer, bool), Fault> {
        let standing = self.states(topic, None);
        let turned = self.ask(topic, &standing, &CallRequest::Topic(callback)).and_then(|turn| {
            self.check_room_for(None, &turn.effects)?;
            Ok(turn)
        });
        let turn = turned.inspect_err(|fault| self.faults.push(fault.clone()))?;
        let Turn { answer, states, effects, stored, entries } = turn;
        self.host.stored = stored;
        self.save_room(topic, states.room, entries);
        let is_answered_later = effects.contains(&Effect::AnswerLater);
        self.carry_out(topic, None, effects);
        Ok((answer, is_answered_later))
    }
}
