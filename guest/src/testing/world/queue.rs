//! What waits on a stage, and in which order it is handled.
//!
//! As on a host, each queue is worked through to its end before another begins: a member has one of its own, and so has each
//! topic, which its members share where the route has its turns by topic.

use super::super::limits::{LETTER_BYTES, LETTERS, MAILBOX, MAILBOX_BYTES};
use super::super::turn::check_mailbox;
use super::super::{Effect, Fault, Sent};
use super::World;
use super::seats::shorten;
use crate::bindings::bennu::channel::types;
use crate::{Answer, Message, Payload, Reply, SeatChange, Value};

/// What the members of a stage may send to one another before it is taken for endless.
const DELIVERIES: usize = 100_000;

/// A queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TurnQueue {
    /// A member's own.
    Member(u64),
    /// A topic's.
    Topic(String),
}

/// What waits to be handled.
pub(super) enum Job {
    /// A message for a member.
    Message(u64, Message),
    /// Something has failed on a member's behalf, outside its turns.
    Fault(u64, Fault),
    /// A message for a topic, and the member that gets the answer.
    TopicMessage(String, Sent, Option<u64>),
    /// What has become of a topic's seat. At most one waits for each.
    Seat(String, String, Vec<SeatChange>),
}

impl World {
    /// The queue in which a member's turns wait.
    pub(super) fn line_of(&self, id: u64) -> Option<TurnQueue> {
        let topic = &self.roles.get(&id)?.topic;
        let is_shared = self.terms(topic).is_ok_and(|terms| terms.has_topic_turns);
        Some(if is_shared { TurnQueue::Topic(topic.clone()) } else { TurnQueue::Member(id) })
    }

    /// A message for a member, behind what waits. More than may wait is a fault of the member.
    pub(super) fn wait(&mut self, id: u64, message: Message) {
        if let Some(line) = self.line_of(id) {
            let waiting = self.admitted(id, message);
            self.waiting.push_back((line, waiting));
        }
    }

    /// The same, behind all that the turn at hand asks for.
    pub(super) fn wait_after_turn(&mut self, id: u64, message: Message) {
        if let Some(line) = self.line_of(id) {
            let waiting = self.admitted(id, message);
            self.after_turn.push((line, waiting));
        }
    }

    fn admitted(&self, id: u64, message: Message) -> Job {
        let (count, bytes) = self.mailbox(id);
        let is_full = count >= MAILBOX || bytes + message.event.len() + message.payload.len() > MAILBOX_BYTES;
        if is_full { Job::Fault(id, Fault::flooded()) } else { Job::Message(id, message) }
    }

    /// A fault of a member, behind all that the turn at hand asks for. One is enough.
    pub(super) fn post_ending(&mut self, id: u64, fault: Fault) {
        let is_it = |(_, waiting): &(TurnQueue, Job)| matches!(waiting, Job::Fault(other, _) if *other == id);
        let is_doomed = self.waiting.iter().any(is_it) || self.after_turn.iter().any(is_it);
        if let Some(line) = self.line_of(id).filter(|_| !is_doomed) {
            self.after_turn.push((line, Job::Fault(id, fault)));
        }
    }

    /// A message for a topic.
    pub(super) fn post(&mut self, topic: String, sent: Sent, sender: Option<u64>) {
        self.waiting.push_back((TurnQueue::Topic(topic.clone()), Job::TopicMessage(topic, sent, sender)));
    }

    /// What has become of a topic's seat, to be told to the plugin in the one turn that waits for the seat.
    pub(super) fn tell_seat(&mut self, topic: String, name: String, change: Option<SeatChange>) {
        let Some(change) = change else { return };
        let waits = self.waiting.iter_mut().find_map(|(_, waiting)| match waiting {
            Job::Seat(of, seat, changes) if *of == topic && *seat == name => Some(changes),
            _ => None,
        });
        let Some(changes) = waits else {
            let waiting = Job::Seat(topic.clone(), name, vec![change]);
            return self.waiting.push_back((TurnQueue::Topic(topic), waiting));
        };
        changes.push(change);
        shorten(changes);
    }

    /// Whether there is room for what a call sends to others, and to the member that asks.
    pub(super) fn check_room_for(&self, member: Option<u64>, effects: &[Effect]) -> Result<(), Fault> {
        if let Some(id) = member {
            let (count, bytes) = self.mailbox(id);
            let timers: usize =
                self.roles.get(&id).map_or(0, |role| role.timers.iter().map(|it| it.sent.bytes()).sum());
            check_mailbox(effects, (count, bytes + timers))?;
        }
        let sends = || {
            effects.iter().filter_map(|it| if let Effect::Send(topic, sent) = it { Some((topic, sent)) } else { None })
        };
        let (count, bytes) = sends().fold((0, 0), |(count, bytes), (_, sent)| (count + 1, bytes + sent.bytes()));
        for (topic, _) in sends() {
            let (waiting, held) = self.letters(Some(topic));
            // A single one is always taken.
            let is_full = waiting + count > MAILBOX || (waiting > 0 && held + bytes > MAILBOX_BYTES);
            let (all, all_held) = self.letters(None);
            if is_full || all + count > LETTERS || all_held + bytes > LETTER_BYTES {
                return Err(Fault::overflow());
            }
        }
        Ok(())
    }

    /// How many messages wait for a member, and their bytes.
    fn mailbox(&self, id: u64) -> (usize, usize) {
        let waiting = self.waiting.iter().chain(&self.after_turn).filter_map(|(_, waiting)| match waiting {
            Job::Message(to, message) if *to == id => Some(message.event.len() + message.payload.len()),
            _ => None,
        });
        waiting.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes))
    }

    /// How many messages wait for a topic, or for all of them, and their bytes.
    fn letters(&self, topic: Option<&String>) -> (usize, usize) {
        let waiting = self.waiting.iter().filter_map(|(_, waiting)| match waiting {
            Job::TopicMessage(to, sent, _) if topic.is_none_or(|topic| topic == to) => Some(sent.bytes()),
            _ => None,
        });
        waiting.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes))
    }

    /// A turn is over: what has come of it waits from now on.
    pub(in crate::testing) fn end_turn(&mut self) {
        let after = std::mem::take(&mut self.after_turn);
        self.waiting.extend(after);
    }

    /// Handles what waits, until nothing does.
    pub(in crate::testing) fn settle(&mut self) {
        for _ in 0..DELIVERIES {
            let Some(waiting) = self.next_waiting() else {
                let Some(socket) = self.closing.pop_front() else { return };
                self.end_all(socket);
                self.end_turn();
                continue;
            };
            match waiting {
                Job::Message(id, message) if self.roles[&id].is_in => self.info(id, message),
                Job::Fault(id, fault) if self.roles[&id].is_in => self.fail(id, &fault, None),
                Job::Message(..) | Job::Fault(..) => {}
                Job::TopicMessage(topic, sent, sender) => self.deliver_letter(topic, sent, sender),
                Job::Seat(topic, name, changes) => {
                    changes.into_iter().for_each(|change| self.change_seat(&topic, &name, change));
                }
            }
            self.end_turn();
        }
        panic!("the members sent {DELIVERIES} messages, and go on");
    }

    /// What is handled next: the rest of the queue at hand, or else what has waited longest.
    fn next_waiting(&mut self) -> Option<Job> {
        let at = self.waiting.iter().position(|(line, _)| Some(line) == self.line.as_ref()).unwrap_or(0);
        let (line, waiting) = self.waiting.remove(at)?;
        self.line = Some(line);
        Some(waiting)
    }

    fn deliver_letter(&mut self, topic: String, sent: Sent, sender: Option<u64>) {
        let event = sent.event.clone();
        let answer = self.send(&topic, sent);
        if let (Ok(Some(reply)), Some(id)) = (answer, sender) {
            let payload = as_message(reply);
            self.wait(id, Message { source: "answer".into(), topic, event, payload });
        }
    }

    /// Something for a topic's `handle_message`, which handles it now.
    pub(in crate::testing) fn send(&mut self, topic: &str, sent: Sent) -> Result<Option<Reply>, Fault> {
        let call = self.route(topic)?.handle_message;
        self.open_room(topic);
        let answer = self.topic_turn(topic, |room| {
            let outcome = call(topic.into(), &sent.event, sent.payload, room)?;
            let answer = outcome.reply.map_or(Answer::None, Answer::Reply);
            Ok(types::Outcome { assigns: None, room: outcome.room, answer })
        });
        self.rest(topic);
        answer.map(|answer| if let Answer::Reply(reply) = answer { Some(reply) } else { None })
    }
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
