//! One act that a callback asks for.

use std::time::Duration;

use bennu_semantics as rules;

use super::Sent;
use crate::{Reply, ReplyRef, TimerId, Value};

/// An effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// An event to the member's own client.
    Push(Sent),
    /// An event to all members of the topic.
    Broadcast(Sent),
    /// An event to all members of the topic but this one.
    BroadcastFrom(Sent),
    /// An event to all members of another topic.
    Publish(String, Sent),
    /// An answer to an earlier message.
    Reply(ReplyRef, Reply),
    /// A message to the member's own `handle_info`.
    SendSelf(Sent),
    /// The same, after a delay.
    SendAfter(TimerId, Duration, Sent),
    /// The end of a timer, before it fires.
    Cancel(TimerId),
    /// The topic's tick period; zero ends the tick.
    Tick(Duration),
    /// The topic's new published state.
    PublishState(Value),
    /// A seat for the member, with its grace period.
    TakeSeat(String, Duration),
    /// The end of the member's seat.
    LeaveSeat,
    /// An event to another topic's `handle_message`.
    Send(String, Sent),
    /// A subscription of the member to a further topic.
    Subscribe(String),
    /// The end of such a subscription.
    Unsubscribe(String),
    /// The end of every socket with this id.
    Disconnect(String),
    /// A presence of the member: its key and its meta.
    Track(String, Value),
    /// A new meta for a presence of the member.
    UpdatePresence(String, Value),
    /// The end of the presence with this key.
    Untrack(String),
    /// All presences of the topic, to the member's own client.
    PushPresence,
}

impl From<rules::Effect> for Effect {
    fn from(effect: rules::Effect) -> Self {
        use rules::Effect as Rule;
        match effect {
            Rule::Push { event, payload } => Self::Push(Sent::of(&event, payload)),
            Rule::Broadcast { event, payload, skip_self: false } => Self::Broadcast(Sent::of(&event, payload)),
            Rule::Broadcast { event, payload, skip_self: true } => Self::BroadcastFrom(Sent::of(&event, payload)),
            Rule::Publish { topic, event, payload } => Self::Publish(topic.to_string(), Sent::of(&event, payload)),
            Rule::Reply { reply_ref, reply } => Self::Reply(ReplyRef(reply_ref.to_string()), reply.into()),
            Rule::SendSelf { event, payload } => Self::SendSelf(Sent::of(&event, payload)),
            Rule::SendAfter { timer, after, event, payload } => {
                Self::SendAfter(TimerId(timer), after, Sent::of(&event, payload))
            }
            Rule::Cancel(timer) => Self::Cancel(TimerId(timer)),
            Rule::Send { topic, event, payload } => Self::Send(topic.to_string(), Sent::of(&event, payload)),
            Rule::Subscribe(topic) => Self::Subscribe(topic.to_string()),
            Rule::Unsubscribe(topic) => Self::Unsubscribe(topic.to_string()),
            Rule::Disconnect(id) => Self::Disconnect(id.to_string()),
            Rule::Track { key, meta } => Self::Track(key.to_string(), object(&meta)),
            Rule::UpdatePresence { key, meta } => Self::UpdatePresence(key.to_string(), object(&meta)),
            Rule::Untrack(key) => Self::Untrack(key.to_string()),
            Rule::PushPresences => Self::PushPresence,
            Rule::PublishState(state) => Self::PublishState(Value::Object(state.into_parts().1)),
            Rule::TakeSeat { name, grace } => Self::TakeSeat(name.to_string(), grace),
            Rule::LeaveSeat => Self::LeaveSeat,
            Rule::SetTick(period) => Self::Tick(period.unwrap_or_default()),
        }
    }
}

/// The record refuses a meta that isn't an object, so the default is never used.
fn object(meta: &str) -> Value {
    rules::read_value(meta).unwrap_or_default()
}
