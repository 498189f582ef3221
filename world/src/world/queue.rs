//! The queues of members and topics.
//!
//! As on a host, each queue is drained to its end before the next one begins. Each member and each topic has a queue.
//! If the turns of a route are the topic's, its members share the topic's queue.

use std::collections::BTreeMap;

use bennu_semantics::limits::{IN_FLIGHT_BYTES_MAX, IN_FLIGHT_MAX, NodeLimits};
use bennu_semantics::{
    Answer, AnswerRef, Effect, Fault, Message, Need, Payload, Reply, SeatChange, Source, Topic, TopicCallback, Turns,
};
use bytestring::ByteString;
use serde_json::Value;

use super::World;
use crate::turn::check_mailbox;
use crate::{Callbacks, Sent};

/// The most turns that may follow from one act.
pub const TURNS_MAX: usize = 100_000;

/// A queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TurnQueue {
    /// A member's queue.
    Member(u64),
    /// A topic's queue.
    Topic(Topic),
}

/// Who waits for the answer to a topic message.
#[derive(Clone, Copy)]
pub(super) enum Waiter {
    Member(u64),
    /// The test, as a caller of the API.
    Api,
}

/// A waiting job.
pub(super) enum Job {
    /// A message for a member.
    Message(u64, Message),
    /// A fault of a member, from outside its turns.
    Fault(u64, Fault),
    /// A topic message, and the member that gets the answer.
    TopicMessage(Topic, Sent, Option<u64>),
    /// The answer to a request by HTTP, for a topic.
    HttpAnswer(Topic, Sent),
    /// The changes of a topic's seat. At most one job waits for each seat.
    Seat(Topic, ByteString),
}

impl<C: Callbacks> World<C> {
    /// The queue in which a member's turns wait.
    pub(super) fn queue_of(&self, id: u64) -> Option<TurnQueue> {
        let topic = &self.roles.get(&id)?.topic;
        let is_shared = self.spec(topic).is_some_and(|spec| spec.turns == Turns::Topic);
        Some(if is_shared { TurnQueue::Topic(topic.clone()) } else { TurnQueue::Member(id) })
    }

    /// Queues a message for a member. If its queue is full, that is a fault of the member.
    pub(super) fn wait(&mut self, id: u64, message: Message) {
        if let Some(queue) = self.queue_of(id) {
            let waiting = self.admitted(id, message);
            self.waiting.push_back((queue, waiting));
        }
    }

    /// Queues a message for a member, behind the jobs of the current turn.
    pub(super) fn wait_after_turn(&mut self, id: u64, message: Message) {
        if let Some(queue) = self.queue_of(id) {
            let waiting = self.admitted(id, message);
            self.after_turn.push((queue, waiting));
        }
    }

    fn admitted(&self, id: u64, message: Message) -> Job {
        let (count, bytes) = self.mailbox(id);
        let (limits, more) = (NodeLimits::default(), message.event.len() + message.payload.len());
        let is_full = count >= limits.from_elsewhere || bytes + more > limits.bytes_from_elsewhere;
        if is_full { Job::Fault(id, Fault::flooded()) } else { Job::Message(id, message) }
    }

    /// Queues a fault of a member, behind the jobs of the current turn, if none is queued.
    pub(super) fn post_ending(&mut self, id: u64, fault: Fault) {
        let is_it = |(_, waiting): &(TurnQueue, Job)| matches!(waiting, Job::Fault(other, _) if *other == id);
        let is_doomed = self.waiting.iter().any(is_it) || self.after_turn.iter().any(is_it);
        if let Some(queue) = self.queue_of(id).filter(|_| !is_doomed) {
            self.after_turn.push((queue, Job::Fault(id, fault)));
        }
    }

    /// Queues a topic message.
    pub(super) fn post(&mut self, topic: Topic, sent: Sent, sender: Option<u64>) {
        self.waiting.push_back((TurnQueue::Topic(topic.clone()), Job::TopicMessage(topic, sent, sender)));
    }

    /// Queues the answer to a request by HTTP, for a topic.
    pub(super) fn wait_for_answer(&mut self, topic: &Topic, answer: Sent) {
        self.waiting.push_back((TurnQueue::Topic(topic.clone()), Job::HttpAnswer(topic.clone(), answer)));
    }

    /// Records a change of a topic's seat, and queues a turn for it if none waits.
    pub(super) fn tell_seat(&mut self, topic: &Topic, name: &ByteString, change: Option<SeatChange>) {
        if change.is_some() && self.seat_changes.entry(topic.clone()).or_default().note(name, change) {
            self.waiting.push_back((TurnQueue::Topic(topic.clone()), Job::Seat(topic.clone(), name.clone())));
        }
    }

    /// The turn of a seat: passes its changes to `handle_seat`.
    fn tell_changes(&mut self, topic: &Topic, name: &ByteString) {
        let Some(pending) = self.seat_changes.get_mut(topic) else { return };
        let changes = pending.take(name);
        if pending.is_empty() {
            self.seat_changes.remove(topic);
        }
        changes.into_iter().for_each(|change| self.change_seat(topic, name, change));
    }

    /// Checks that the queues have room for a call's messages to topics, and to the member itself.
    pub(super) fn check_room_for(&self, member: Option<u64>, effects: &[Effect]) -> Result<(), Fault> {
        if let Some(id) = member {
            let (count, bytes) = self.mailbox(id);
            let timers = self.roles.get(&id).map_or(0, |role| role.resources.timer_bytes());
            check_mailbox(effects, (count, bytes + timers))?;
        }
        self.check_mailboxes(effects)?;
        let sends = || {
            effects.iter().filter_map(|effect| match effect.need() {
                Need::Message(topic, bytes) => Some((topic, bytes)),
                Need::Nothing
                | Need::Room
                | Need::Mailbox(_)
                | Need::Timer(_)
                | Need::Audience(_)
                | Need::Addressees => None,
            })
        };
        let (count, bytes) = sends().fold((0, 0), |(count, sum), (_, bytes)| (count + 1, sum + bytes));
        let limits = NodeLimits::default();
        for (topic, _) in sends() {
            let (waiting, held) = self.topic_messages(Some(topic));
            // A topic's empty queue takes any single message.
            let is_full =
                waiting + count > limits.from_elsewhere || (waiting > 0 && held + bytes > limits.bytes_from_elsewhere);
            let (all, all_held) = self.topic_messages(None);
            if is_full || all + count > IN_FLIGHT_MAX || all_held + bytes > IN_FLIGHT_BYTES_MAX {
                return Err(Fault::overflow());
            }
        }
        Ok(())
    }

    /// Checks that the mailboxes of other members have room for a call's messages to them.
    fn check_mailboxes(&self, effects: &[Effect]) -> Result<(), Fault> {
        let mut mailboxes = BTreeMap::new();
        for effect in effects {
            if let Effect::SendMember { topic, member, event, payload } = effect
                && self.has_member(topic, *member)
            {
                let (count, bytes) = mailboxes.entry(*member).or_insert_with(|| self.mailbox(*member));
                (*count, *bytes) = (*count + 1, *bytes + event.len() + payload.len());
            }
        }
        mailboxes.into_values().try_for_each(|mailbox| check_mailbox(&[], mailbox))
    }

    /// The number of messages in a member's queue, and their bytes.
    fn mailbox(&self, id: u64) -> (usize, usize) {
        let waiting = self.waiting.iter().chain(&self.after_turn).filter_map(|(_, waiting)| match waiting {
            Job::Message(to, message) if *to == id => Some(message.event.len() + message.payload.len()),
            _ => None,
        });
        waiting.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes))
    }

    /// The number of topic messages in the queue of one topic or of all topics, and their bytes.
    fn topic_messages(&self, topic: Option<&Topic>) -> (usize, usize) {
        let waiting = self.waiting.iter().filter_map(|(_, waiting)| match waiting {
            Job::TopicMessage(to, sent, _) if topic.is_none_or(|topic| topic == to) => Some(sent.bytes()),
            _ => None,
        });
        waiting.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes))
    }

    /// Ends a turn: queues the jobs that follow from it.
    pub(super) fn end_turn(&mut self) {
        let after = std::mem::take(&mut self.after_turn);
        self.waiting.extend(after);
    }

    /// Runs the waiting jobs until none is left. After [`TURNS_MAX`] turns it drops the rest.
    pub(super) fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            let Some(waiting) = self.next_waiting() else {
                let Some(client) = self.closing.pop_front() else { return };
                self.end_all(client);
                self.end_turn();
                continue;
            };
            let is_in = |id: &u64| self.roles.get(id).is_some_and(|role| role.is_in);
            match waiting {
                Job::Message(id, message) if is_in(&id) => self.info(id, message),
                Job::Fault(id, fault) if is_in(&id) => self.fail(id, &fault, None),
                Job::Message(..) | Job::Fault(..) => {}
                Job::TopicMessage(topic, sent, sender) => self.deliver_message(&topic, sent, sender),
                // A fault is noted, and nobody waits for the result.
                Job::HttpAnswer(topic, answer) => drop(self.tell_now(&topic, Source::Http, answer, None)),
                Job::Seat(topic, name) => self.tell_changes(&topic, &name),
            }
            self.end_turn();
        }
        self.waiting.clear();
        self.seat_changes.clear();
        self.is_endless = true;
    }

    /// Takes the next job: of the current queue, or else the oldest one.
    fn next_waiting(&mut self) -> Option<Job> {
        let at = self.waiting.iter().position(|(queue, _)| Some(queue) == self.current.as_ref()).unwrap_or(0);
        let (queue, waiting) = self.waiting.remove(at)?;
        self.current = Some(queue);
        Some(waiting)
    }

    fn deliver_message(&mut self, topic: &Topic, sent: Sent, sender: Option<u64>) {
        let sender = sender.map(Waiter::Member);
        self.send_now(topic, sent, sender);
    }

    /// The API sends to a topic's `handle_message`, which runs at once. Returns the reply, also one that comes later in the same
    /// moment.
    ///
    /// # Errors
    /// If the callback ends in a fault, or no route serves the topic.
    pub fn send(&mut self, topic: &str, sent: Sent) -> Result<Option<Reply>, Fault> {
        let answer_ref = self.send_now(&Topic::new(topic), sent, Some(Waiter::Api));
        self.end_turn();
        self.settle();
        answer_ref.map_or(Ok(None), |answer_ref| self.api_answers.remove(&answer_ref).unwrap_or(Ok(None)))
    }

    /// Takes the answers to [`send`](Self::send) that came after it, in the order of the messages.
    pub fn take_late_answers(&mut self) -> Vec<Reply> {
        let mut answers: Vec<_> = self.api_answers.drain().collect();
        answers.sort_unstable_by_key(|(answer_ref, _)| answer_ref.number);
        answers.into_iter().filter_map(|(_, answer)| answer.ok().flatten()).collect()
    }

    /// Calls `handle_message`. The sender gets the answer now, or later. Returns the name of the message.
    fn send_now(&mut self, topic: &Topic, Sent { event, payload }: Sent, sender: Option<Waiter>) -> Option<AnswerRef> {
        let answer_ref = sender.map(|sender| {
            self.numbered_answers += 1;
            let answer_ref = AnswerRef { number: self.numbered_answers, seal: 0 };
            self.waiters.insert(answer_ref, (sender, topic.clone(), event.clone()));
            answer_ref
        });
        let answer = self.served(topic).and_then(|_| {
            self.open_room(topic);
            let callback = TopicCallback::Message { event, payload, answer_ref };
            let turned = self.topic_turn_that_may_wait(topic, callback);
            self.rest(topic);
            turned
        });
        if let Some(answer_ref) = answer_ref {
            match answer {
                Ok((Answer::Reply(reply), _)) => self.answer(answer_ref, Ok(Some(reply))),
                Ok((_, true)) => {}
                Ok(_) => self.answer(answer_ref, Ok(None)),
                Err(fault) => self.answer(answer_ref, Err(fault)),
            }
        }
        answer_ref
    }

    /// Answers a topic message, if its sender still waits.
    pub(super) fn answer(&mut self, answer_ref: AnswerRef, answer: Result<Option<Reply>, Fault>) {
        match self.waiters.remove(&answer_ref) {
            Some((Waiter::Member(id), topic, event)) => {
                if let Ok(Some(reply)) = answer {
                    self.wait(id, Message { source: Source::Answer, topic, event, payload: as_message(reply) });
                }
            }
            Some((Waiter::Api, ..)) => drop(self.api_answers.insert(answer_ref, answer)),
            None => {}
        }
    }
}

/// The payload of a reply for `handle_info`.
fn as_message(reply: Reply) -> Payload {
    match reply.payload {
        Payload::Json(response) => {
            let status = Value::from(&*reply.status);
            Payload::Json(format!("{{\"status\":{status},\"response\":{response}}}").into())
        }
        bytes @ Payload::Binary(_) => bytes,
    }
}
