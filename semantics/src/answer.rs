//! What a callback answers.

use bytestring::ByteString;

use crate::Payload;

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
