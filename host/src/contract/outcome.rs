//! What comes out of a plugin.

use bytes::Bytes;
use bytestring::ByteString;

use super::Effect;
use crate::protocol::Payload;
use crate::store::Draft;

/// An answer with its status.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// `ok`, `error`, or another word.
    pub status: ByteString,
    /// Any JSON value, or bytes.
    pub payload: Payload,
}

/// An orderly end.
#[derive(Clone, Debug, PartialEq)]
pub struct Stop {
    /// Why, for `terminate` and the log.
    pub reason: String,
    /// What the client is answered first.
    pub reply: Option<Reply>,
}

/// What the client is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Nothing.
    None,
    /// A reply to the message at hand.
    Reply(Reply),
    /// The end of the membership.
    Stop(Stop),
    /// The join succeeds, with this response.
    Admit(Payload),
    /// The join is refused, with this response, and nothing else of the call is done.
    Refuse(Payload),
}

/// What follows from a call.
#[derive(Debug)]
pub struct Outcome {
    /// The member's new state, if it changed.
    pub assigns: Option<Bytes>,
    /// The topic's new shared state, if it changed. Without bytes it is as if nobody had written it.
    pub room: Option<Bytes>,
    /// What it read of the store and wants written to it, if it asked for either.
    pub draft: Option<Box<Draft>>,
    /// What it asked for, in order.
    pub effects: Vec<Effect>,
    /// What the client is told.
    pub answer: Answer,
}

/// What becomes of an intercepted event for one recipient.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// It gets the event as it is.
    Pass,
    /// It doesn't get the event.
    Drop,
    /// It gets this payload instead.
    Replace(Payload),
    /// Its own `handle_info` gets the event.
    HandOver,
}
