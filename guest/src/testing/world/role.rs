//! A member on a stage, and what came to its client.

use std::collections::VecDeque;

use super::super::facts::Facts;
use super::super::record::MemberUsage;
use super::super::saved::Saved;
use super::super::{Sent, Timer};
use crate::{Payload, Reply, Value, json};

/// What came to a client.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::testing) enum Came {
    /// A reply, to the message of this ref.
    Reply(String, Reply),
    /// A reply to a message about a topic that isn't joined any more.
    Unmatched(String, Reply),
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
pub(in crate::testing) struct Role {
    pub(in crate::testing) topic: String,
    pub(in crate::testing) came: VecDeque<Came>,
    pub(in crate::testing) response: Payload,
    pub(in crate::testing) is_in: bool,
    pub(in crate::testing) assigns: Saved,
    /// The connection that it is on.
    pub(super) socket: u64,
    /// Whether its client has joined the topic again.
    pub(super) is_replaced: bool,
    /// What its callbacks read of the socket, the ref of its join included.
    pub(super) facts: Facts,
    pub(super) holdings: MemberUsage,
    /// The further topics that it hears.
    pub(super) hears: Vec<String>,
    pub(super) timers: Vec<Timer>,
    /// The seat that it sits on.
    pub(super) seat: Option<String>,
    /// What its client has of the topic's published state.
    pub(in crate::testing) room_state: Option<Value>,
}

impl Role {
    /// One that has just come in.
    pub(super) fn new(topic: &str, response: Payload, facts: Facts, socket: u64) -> Self {
        Self {
            topic: topic.into(),
            came: VecDeque::new(),
            response,
            is_in: true,
            assigns: Saved::default(),
            socket,
            is_replaced: false,
            facts,
            holdings: MemberUsage::default(),
            hears: Vec::new(),
            timers: Vec::new(),
            seat: None,
            room_state: None,
        }
    }

    /// What came, as a frame of version 2; bytes as an array of numbers.
    pub(in crate::testing) fn frame(&self, came: &Came) -> Value {
        came.frame(&self.topic, &self.facts.join_ref)
    }
}

impl Came {
    /// What came to the member of a topic that joined by this ref, as a frame of version 2; bytes as an array of numbers.
    pub(super) fn frame(&self, topic: &str, join_ref: &str) -> Value {
        let join = value(join_ref);
        match self {
            Self::Reply(to, reply) => reply_frame((topic, join_ref), to, reply),
            Self::Unmatched(to, reply) => reply_frame((topic, "null"), to, reply),
            Self::Push(Sent { event, payload: Payload::Binary(bytes) }) => {
                binary(0, &[text(join_ref).as_str(), topic, event], bytes)
            }
            Self::Broadcast(Sent { event, payload: Payload::Binary(bytes) }) => binary(2, &[topic, event], bytes),
            Self::Push(Sent { event, payload }) => json!([join, null, topic, event, payload.value()]),
            Self::Broadcast(Sent { event, payload }) => json!([null, null, topic, event, payload.value()]),
            Self::Close => json!([join, join, topic, "phx_close", {}]),
            Self::Error => json!([join, join, topic, "phx_error", { "reason": "channel_crash" }]),
            Self::Disconnected => json!({ "closed": 1001 }),
        }
    }
}

/// A reply by the JSON texts of its refs.
pub(super) fn reply_frame((topic, join_ref): (&str, &str), to: &str, reply: &Reply) -> Value {
    match &reply.payload {
        Payload::Binary(bytes) => binary(1, &[text(join_ref).as_str(), text(to).as_str(), topic, &reply.status], bytes),
        json => {
            let answer = json!({ "status": reply.status, "response": json.value() });
            json!([value(join_ref), value(to), topic, "phx_reply", answer])
        }
    }
}

/// A binary frame: its kind, the lengths of its names, the names, and the bytes.
fn binary(kind: u8, names: &[&str], bytes: &[u8]) -> Value {
    let mut frame = vec![kind];
    frame.extend(names.iter().map(|name| name.len() as u8));
    names.iter().for_each(|name| frame.extend(name.as_bytes()));
    frame.extend(bytes);
    json!(frame)
}

fn value(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_default()
}

/// A ref as binary frames have it: without its quotes.
fn text(json: &str) -> String {
    match value(json) {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    }
}
