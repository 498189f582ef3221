//! Messages from clients, and messages to clients.

use std::num::NonZeroU64;

use bytestring::ByteString;

use super::{Payload, Ref};

/// The events of the protocol.
pub mod event {
    /// A client asks to join a topic.
    pub const JOIN: &str = "phx_join";
    /// A client leaves a topic.
    pub const LEAVE: &str = "phx_leave";
    /// The reply to a message with a ref.
    pub const REPLY: &str = "phx_reply";
    /// The normal end of a channel.
    pub const CLOSE: &str = "phx_close";
    /// The end of a channel because of a fault. The client joins again.
    pub const ERROR: &str = "phx_error";
    /// A client's heartbeat, on the topic [`HEARTBEAT_TOPIC`].
    pub const HEARTBEAT: &str = "heartbeat";
    /// The topic of heartbeats.
    pub const HEARTBEAT_TOPIC: &str = "phoenix";
    /// A change of the presences of a topic.
    pub const PRESENCE_DIFF: &str = "presence_diff";
    /// The position of a client in the history of a topic.
    pub const HISTORY: &str = "history";
}

/// The topic field of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addressee {
    /// A topic.
    Topic(ByteString),
    /// The text of a JSON value that isn't a string. It can't be joined, but the reply repeats it.
    Other(ByteString),
}

/// The topic field of a reply: a borrowed [`Addressee`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To<'a> {
    /// A topic.
    Topic(&'a str),
    /// The text of a JSON value that isn't a string.
    Other(&'a str),
}

impl<'a> From<&'a Addressee> for To<'a> {
    fn from(to: &'a Addressee) -> Self {
        match to {
            Addressee::Topic(topic) => Self::Topic(topic),
            Addressee::Other(json) => Self::Other(json),
        }
    }
}

/// A message from a client. Its fields are slices of the frame, and keep the whole frame in memory. Copy a field to
/// keep it longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The ref of the join that it belongs to.
    pub join_ref: Ref,
    /// Its own ref.
    pub reference: Ref,
    /// Its topic field.
    pub to: Addressee,
    /// Its event. An event that isn't a string is kept as its JSON text.
    pub event: ByteString,
    /// The payload.
    pub payload: Payload,
}

/// Returns the JSON of the ref that carries a number of a history. A ref of a client never looks like it, because
/// clients count from 1.
pub(super) fn number_ref(number: NonZeroU64) -> String {
    format!("\"h{number}\"")
}

/// A message to a client.
#[derive(Clone, Copy, Debug)]
pub enum Outbound<'a> {
    /// A reply: `phx_reply`.
    Reply {
        /// The channel's join ref, or null.
        join_ref: &'a Ref,
        /// The ref of the message that is answered.
        reference: &'a Ref,
        /// The topic, or the value that the client sent in its place.
        to: To<'a>,
        /// `ok`, `error`, or another status.
        status: &'a str,
        /// The response.
        payload: &'a Payload,
    },
    /// An event for one channel.
    Push {
        /// The channel's join ref.
        join_ref: &'a Ref,
        /// The topic.
        topic: &'a str,
        /// The event.
        event: &'a str,
        /// The payload.
        payload: &'a Payload,
    },
    /// An event for all subscribers of a topic.
    Broadcast {
        /// The topic.
        topic: &'a str,
        /// The event.
        event: &'a str,
        /// The payload.
        payload: &'a Payload,
    },
    /// An event with a number in its topic's history, for all subscribers or for one.
    Numbered {
        /// The channel's join ref for one subscriber, or null for all.
        join_ref: &'a Ref,
        /// The number. Text frames have it as their ref, such as `h17`. Binary frames have no place for it.
        number: NonZeroU64,
        /// The topic.
        topic: &'a str,
        /// The event.
        event: &'a str,
        /// The payload.
        payload: &'a Payload,
    },
    /// `phx_close`: the channel has ended normally.
    Close {
        /// The channel's join ref.
        join_ref: &'a Ref,
        /// The topic.
        topic: &'a str,
    },
    /// `phx_error`: the channel has ended because of a fault.
    Error {
        /// The channel's join ref.
        join_ref: &'a Ref,
        /// The topic.
        topic: &'a str,
    },
}
