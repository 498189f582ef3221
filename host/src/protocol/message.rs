//! Messages: what a client sent, and what it is told.

use bytestring::ByteString;

use super::{Payload, Ref};

/// The events that belong to the protocol.
pub mod event {
    /// A client asks to join a topic.
    pub const JOIN: &str = "phx_join";
    /// A client leaves a topic.
    pub const LEAVE: &str = "phx_leave";
    /// The answer to a message with a ref.
    pub const REPLY: &str = "phx_reply";
    /// The orderly end of a channel.
    pub const CLOSE: &str = "phx_close";
    /// The end of a channel by a fault: the client joins again.
    pub const ERROR: &str = "phx_error";
    /// On the topic [`HEARTBEAT_TOPIC`]: the client says that it is there.
    pub const HEARTBEAT: &str = "heartbeat";
    /// The topic of heartbeats.
    pub const HEARTBEAT_TOPIC: &str = "phoenix";
}

/// Whom a message is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addressee {
    /// A topic.
    Topic(ByteString),
    /// A JSON value that isn't a string. It can't be joined, but the answer repeats it.
    Other(ByteString),
}

/// The same, for an answer: borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To<'a> {
    /// A topic.
    Topic(&'a str),
    /// A JSON value that isn't a string.
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

/// What a client sent. Its fields are slices of the frame; keep copies of what you keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The ref of the join that it belongs to.
    pub join_ref: Ref,
    /// Its own ref.
    pub reference: Ref,
    /// Its topic.
    pub to: Addressee,
    /// Its event. One that isn't a string is kept as its JSON text.
    pub event: ByteString,
    /// What it carries.
    pub payload: Payload,
}

/// What a client is told.
#[derive(Clone, Copy, Debug)]
pub enum Outbound<'a> {
    /// An answer: `phx_reply`.
    Reply {
        /// The channel's join ref, or null.
        join_ref: &'a Ref,
        /// The ref of the message answered.
        reference: &'a Ref,
        /// The topic, or what stood in its place.
        to: To<'a>,
        /// `ok`, `error`, or another word.
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
        /// What it carries.
        payload: &'a Payload,
    },
    /// An event for everybody on a topic.
    Broadcast {
        /// The topic.
        topic: &'a str,
        /// The event.
        event: &'a str,
        /// What it carries.
        payload: &'a Payload,
    },
    /// `phx_close`: the channel has ended in order.
    Close {
        /// The channel's join ref.
        join_ref: &'a Ref,
        /// The topic.
        topic: &'a str,
    },
    /// `phx_error`: the channel has ended by a fault.
    Error {
        /// The channel's join ref.
        join_ref: &'a Ref,
        /// The topic.
        topic: &'a str,
    },
}
