//! The outcome of a callback.

use std::time::Duration;

use bennu_semantics::read_value;

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
    ///
    /// ```
    /// use bennu_guest::prelude::*;
    /// use bennu_guest::testing::Effect;
    ///
    /// # #[derive(Serialize, Deserialize)] struct Player;
    /// # impl Channel for Player {
    /// #     type Room = u64;
    /// fn join(socket: &mut Socket<u64>, _params: Payload) -> Join<Self> {
    ///     socket.take_seat("ada", Duration::from_secs(5));
    ///     Ok(Player)
    /// }
    /// # }
    ///
    /// let ada = testing::join::<Player>("table:1", json!({})).unwrap();
    /// assert_eq!(ada.joined().effects(), [Effect::TakeSeat { name: "ada".into(), grace_ms: 5000 }]);
    /// ```
    #[track_caller]
    pub fn effects(&self) -> &[Effect] {
        self.answer();
        &self.effects
    }

    /// The events to the member's own client, without replies.
    #[track_caller]
    pub fn pushes(&self) -> Vec<Sent> {
        self.pick(|effect| match effect {
            Effect::Push { event, payload } => Some(Sent::of(event, payload.clone())),
            _ => None,
        })
    }

    /// The events to all members of the topic, droppable ones too.
    #[track_caller]
    pub fn broadcasts(&self) -> Vec<Sent> {
        self.pick(|effect| match effect {
            Effect::Broadcast { event, payload } | Effect::BroadcastDroppable { event, payload, .. } => {
                Some(Sent::of(event, payload.clone()))
            }
            _ => None,
        })
    }

    /// The events to all members of the topic except this one, droppable ones too.
    #[track_caller]
    pub fn broadcasts_from(&self) -> Vec<Sent> {
        self.pick(|effect| match effect {
            Effect::BroadcastFrom { event, payload } | Effect::BroadcastFromDroppable { event, payload, .. } => {
                Some(Sent::of(event, payload.clone()))
            }
            _ => None,
        })
    }

    /// The events to members of other topics, droppable ones too.
    #[track_caller]
    pub fn published(&self) -> Vec<(String, Sent)> {
        self.pick(|effect| match effect {
            Effect::Publish { topic, event, payload } => Some((topic.to_string(), Sent::of(event, payload.clone()))),
            Effect::PublishDroppable { topic, event, payload, .. } => {
                Some((topic.to_string(), Sent::of(event, payload.clone())))
            }
            _ => None,
        })
    }

    /// The events to `handle_message` of other topics.
    #[track_caller]
    pub fn sent(&self) -> Vec<(String, Sent)> {
        self.pick(|effect| match effect {
            Effect::Send { topic, event, payload } => Some((topic.to_string(), Sent::of(event, payload.clone()))),
            _ => None,
        })
    }

    /// The published states.
    #[track_caller]
    pub fn published_states(&self) -> Vec<Value> {
        self.pick(|effect| match effect {
            Effect::PublishState { state } => Some(Value::Object(state.clone().into_parts().1)),
            _ => None,
        })
    }

    /// The new presences: keys and metas.
    #[track_caller]
    pub fn tracked(&self) -> Vec<(String, Value)> {
        self.pick(|effect| match effect {
            // The record refuses a meta that isn't an object, so the default is never used.
            Effect::Track { key, meta } => Some((key.to_string(), read_value(meta).unwrap_or_default())),
            _ => None,
        })
    }

    /// The answers to earlier messages.
    #[track_caller]
    pub fn late_replies(&self) -> Vec<Reply> {
        self.pick(|effect| match effect {
            Effect::Reply { reply, .. } => Some(reply.clone().into()),
            _ => None,
        })
    }

    /// The messages of the member to itself.
    #[track_caller]
    pub fn sent_to_self(&self) -> Vec<Sent> {
        self.pick(|effect| match effect {
            Effect::SendSelf { event, payload } => Some(Sent::of(event, payload.clone())),
            _ => None,
        })
    }

    /// The new timers.
    #[track_caller]
    pub fn timers(&self) -> Vec<(Duration, Sent)> {
        self.pick(|effect| match effect {
            Effect::SendAfter { milliseconds, event, payload } => {
                Some((Duration::from_millis(*milliseconds), Sent::of(event, payload.clone())))
            }
            _ => None,
        })
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
    fn pick<T>(&self, what: impl Fn(&Effect) -> Option<T>) -> Vec<T> {
        self.effects().iter().filter_map(what).collect()
    }
}
