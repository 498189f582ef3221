//! The answer of a callback.

use bytestring::ByteString;

use crate::Payload;

/// An answer with its status.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// `ok`, `error`, or another status.
    pub status: ByteString,
    /// Any JSON value, or bytes.
    pub payload: Payload,
}

/// The end of a member, without a fault.
#[derive(Clone, Debug, PartialEq)]
pub struct Stop {
    /// The reason, for `terminate` and the log.
    pub reason: String,
    /// The reply to the client before the end.
    pub reply: Option<Reply>,
}

/// The answer to the client.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// No answer.
    None,
    /// A reply to the current message.
    Reply(Reply),
    /// The end of the membership.
    Stop(Stop),
    /// The join succeeds, with this response.
    Admit(Payload),
    /// The join is refused, with this response. No effect of the call is carried out.
    Refuse(Payload),
}

/// The decision about an intercepted event for one recipient.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// It gets the event unchanged.
    Pass,
    /// It doesn't get the event.
    Drop,
    /// It gets this payload instead.
    Replace(Payload),
    /// Its own `handle_info` gets the event.
    HandOver,
}
