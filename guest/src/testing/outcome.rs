//! The outcome of a callback.

use std::time::Duration;

use super::{Effect, Fault, Sent};
use crate::log::Level;
use crate::{Answer, Reply, Value};

/// The outcome of a callback: an answer and effects, or a fault.
///
/// After a fault, every method except [`fault`](Outcome::fault), [`log`](Outcome::log) and [`ended`](Outcome::ended)
/// panics with the fault's text. So a test that expected no fault shows the fault.
#[derive(Clone, Debug)]
#[must_use]
pub struct Outcome {
    pub(super) answer: Result<Answer, Fault>,
    pub(super) effects: Vec<Effect>,
    pub(super) lines: Vec<(Level, String)>,
    /// The outcome of `terminate`, if the member ended by this callback.
    pub(super) ended: Option<Box<Outcome>>,
}

impl Outcome {
    /// The answer to the client.
    #[track_caller]
    pub fn answer(&self) -> &Answer {
        match &self.answer {
            Ok(answer) => answer,
            Err(fault) => panic!("the callback ended in a fault: {fault}"),
        }
    }

    /// The reply, also of a stop. The reply of a join is `ok` with its response.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[track_caller]
    pub fn reply(&self) -> Reply {
        match self.answer() {
            Answer::Reply(reply) => reply.clone(),
            Answer::Stop(stop) => stop.reply.clone().expect("the callback stopped the member without a reply"),
            Answer::None => panic!("the callback gave no reply"),
        }
    }

    /// All effects, in order.
    #[track_caller]
    pub fn effects(&self) -> &[Effect] {
        self.answer();
        &self.effects
    }

    /// The events to the member's own client, without replies.
    #[track_caller]
    pub fn pushes(&self) -> Vec<Sent> {
        self.pick(|effect| if let Effect::Push(sent) = effect { Some(sent) } else { None })
    }

    /// The events to all members of the topic.
    #[track_caller]
    pub fn broadcasts(&self) -> Vec<Sent> {
        self.pick(|effect| if let Effect::Broadcast(sent) = effect { Some(sent) } else { None })
    }

    /// The events to all members of the topic except this one.
    #[track_caller]
    pub fn broadcasts_from(&self) -> Vec<Sent> {
        self.pick(|effect| if let Effect::BroadcastFrom(sent) = effect { Some(sent) } else { None })
    }

    /// The events to members of other topics.
    #[track_caller]
    pub fn published(&self) -> Vec<(String, Sent)> {
        self.pick(|effect| if let Effect::Publish(topic, sent) = effect { Some((topic, sent)) } else { None })
    }

    /// The events to `handle_message` of other topics.
    #[track_caller]
    pub fn sent(&self) -> Vec<(String, Sent)> {
        self.pick(|effect| if let Effect::Send(topic, sent) = effect { Some((topic, sent)) } else { None })
    }

    /// The published states.
    #[track_caller]
    pub fn published_states(&self) -> Vec<Value> {
        self.pick(|effect| if let Effect::PublishState(state) = effect { Some(state) } else { None })
    }

    /// The new presences: keys and metas.
    #[track_caller]
    pub fn tracked(&self) -> Vec<(String, Value)> {
        self.pick(|effect| if let Effect::Track(key, meta) = effect { Some((key, meta)) } else { None })
    }

    /// The answers to earlier messages.
    #[track_caller]
    pub fn late_replies(&self) -> Vec<Reply> {
        self.pick(|effect| if let Effect::Reply(_, reply) = effect { Some(reply) } else { None })
    }

    /// The messages of the member to itself.
    #[track_caller]
    pub fn sent_to_self(&self) -> Vec<Sent> {
        self.pick(|effect| if let Effect::SendSelf(sent) = effect { Some(sent) } else { None })
    }

    /// The new timers.
    #[track_caller]
    pub fn timers(&self) -> Vec<(Duration, Sent)> {
        self.pick(|effect| if let Effect::SendAfter(_, after, sent) = effect { Some((after, sent)) } else { None })
    }

    /// The fault, if the callback ended in one.
    pub fn fault(&self) -> Option<&Fault> {
        self.answer.as_ref().err()
    }

    /// The log lines.
    pub fn log(&self) -> &[(Level, String)] {
        &self.lines
    }

    /// The outcome of `terminate`, if the member ended by this callback: by a stop or by a fault.
    pub fn ended(&self) -> Option<&Outcome> {
        self.ended.as_deref()
    }

    #[track_caller]
    fn pick<T>(&self, what: impl Fn(Effect) -> Option<T>) -> Vec<T> {
        self.effects().iter().cloned().filter_map(what).collect()
    }
}
