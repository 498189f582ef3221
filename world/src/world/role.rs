//! A member, and the messages that its client received.

use std::collections::VecDeque;

use bennu_semantics::entries::ViewId;
use bennu_semantics::{Payload, Reply, Topic};
use bytestring::ByteString;
use serde_json::Value;

use crate::{Resources, Saved, Sent, SocketFacts};

/// A message that a client received.
#[derive(Clone, Debug, PartialEq)]
pub enum Received {
    /// A reply, to the message of this ref.
    Reply(String, Reply),
    /// A reply to a message about a topic that is no longer joined.
    Unmatched(String, Reply),
    /// An event for this member alone.
    Push(Sent),
    /// An event for the topic.
    Broadcast(Sent),
    /// The member's end without a fault.
    Close,
    /// The member's end by a fault.
    Error,
    /// The connection's end.
    Disconnected,
}

/// A message that a client received, as a frame of version 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A text frame: a JSON array of five.
    Text(String),
    /// A binary frame.
    Binary(Vec<u8>),
    /// The connection ended with this code.
    Closed(u16),
}

/// A member, also after its end.
#[derive(Debug)]
pub struct Role {
    /// The topic that it joined.
    pub topic: Topic,
    /// The received messages that the test hasn't taken yet. A client at the level of frames has none here.
    pub received: VecDeque<Received>,
    /// The response of its join.
    pub response: Payload,
    /// Whether it hasn't ended.
    pub is_in: bool,
    /// Its state as last committed.
    pub assigns: Saved,
    /// The topic's published state, as its client knows it.
    pub room_state: Option<Value>,
    /// Its view of published entries. `None` if its topic publishes no entries.
    pub(super) view: Option<ViewId>,
    /// Its connection.
    pub(super) client: u64,
    /// Whether its client has joined the topic again.
    pub(super) is_replaced: bool,
    /// The values of its socket, with the ref of its join.
    pub(super) facts: SocketFacts,
    /// Its timers, presences and subscriptions.
    pub(super) resources: Resources,
    /// Its seat.
    pub(super) seat: Option<ByteString>,
}

impl Role {
    /// A member that has just joined.
    pub(super) fn new(topic: &Topic, response: Payload, facts: SocketFacts, client: u64) -> Self {
        Self {
            topic: topic.clone(),
            received: VecDeque::new(),
            response,
            is_in: true,
            assigns: Saved::default(),
            room_state: None,
            view: None,
            client,
            is_replaced: false,
            facts,
            resources: Resources::default(),
            seat: None,
        }
    }

    /// A message to this member, as a frame.
    #[must_use]
    pub fn frame(&self, received: &Received) -> Frame {
        received.frame(self.topic.as_str(), &self.facts.join_ref)
    }
}

impl Received {
    /// This message to a member of a topic that joined with this ref, as a frame.
    pub(super) fn frame(&self, topic: &str, join: &str) -> Frame {
        match self {
            Self::Reply(to, reply) => reply_frame((topic, join), to, reply),
            Self::Unmatched(to, reply) => reply_frame((topic, "null"), to, reply),
            Self::Push(Sent { event, payload }) => event_frame(Some(join), topic, event, payload),
            Self::Broadcast(Sent { event, payload }) => event_frame(None, topic, event, payload),
            Self::Close => Frame::Text(text_frame(join, join, topic, "phx_close", "{}")),
            Self::Error => Frame::Text(text_frame(join, join, topic, "phx_error", r#"{"reason":"channel_crash"}"#)),
            Self::Disconnected => Frame::Closed(1001),
        }
    }
}

/// A reply as a frame. The refs are JSON texts.
pub(super) fn reply_frame((topic, join): (&str, &str), to: &str, reply: &Reply) -> Frame {
    match &reply.payload {
        Payload::Binary(bytes) => binary(1, &[&text(join), &text(to), topic, &reply.status], bytes),
        Payload::Json(response) => {
            let status = Value::from(&*reply.status);
            let answer = format!(r#"{{"status":{status},"response":{response}}}"#);
            Frame::Text(text_frame(join, to, topic, "phx_reply", &answer))
        }
    }
}

/// An event as a frame: a push to a member that joined with this ref, or a broadcast.
fn event_frame(join: Option<&str>, topic: &str, event: &str, payload: &Payload) -> Frame {
    match (payload, join) {
        (Payload::Binary(bytes), Some(join)) => binary(0, &[&text(join), topic, event], bytes),
        (Payload::Binary(bytes), None) => binary(2, &[topic, event], bytes),
        (Payload::Json(json), join) => Frame::Text(text_frame(join.unwrap_or("null"), "null", topic, event, json)),
    }
}

fn text_frame(join: &str, reference: &str, topic: &str, event: &str, payload: &str) -> String {
    format!("[{join},{reference},{},{},{payload}]", Value::from(topic), Value::from(event))
}

/// A binary frame: its kind, the lengths of its names, the names, and the bytes.
fn binary(kind: u8, names: &[&str], bytes: &[u8]) -> Frame {
    let mut frame = vec![kind];
    frame.extend(names.iter().map(|name| u8::try_from(name.len()).unwrap_or(u8::MAX)));
    names.iter().for_each(|name| frame.extend(name.as_bytes()));
    frame.extend(bytes);
    Frame::Binary(frame)
}

/// A ref in a binary frame: without quotes.
fn text(json: &str) -> String {
    match serde_json::from_str(json).unwrap_or_default() {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    }
}
