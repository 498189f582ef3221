//! The events of a member. Each is handled in a turn of its own.

use bytestring::ByteString;

use crate::contract::{Ending, Fault, Message, TimerId};
use crate::protocol::{Payload, Ref};

/// An event that waits for a channel's turn.
#[derive(Debug)]
pub enum MemberEvent {
    /// The client asks to join.
    Join {
        /// The parameters of the join.
        params: Payload,
        /// The ref to answer.
        reference: Ref,
        /// The join ref of the channel that this one replaces. The client must get a `phx_close` with this ref.
        replaced: Option<Ref>,
    },
    /// The client sent an event.
    In {
        /// The event.
        event: ByteString,
        /// Its payload.
        payload: Payload,
        /// The ref to answer.
        reference: Ref,
    },
    /// The client leaves.
    Leave {
        /// The join ref of its message.
        join_ref: Ref,
        /// The ref to answer.
        reference: Ref,
    },
    /// A message that no client sent.
    Info(Message),
    /// A timer has fired.
    Timer(TimerId),
    /// Something that the host did for it failed, outside its turns.
    Fault {
        /// What failed.
        fault: Fault,
        /// The event whose `handle_out` failed, if one did.
        intercepted: Option<ByteString>,
    },
    /// Its topic was closed for this fault. It ends, even if its route keeps members after a fault.
    Closed(Fault),
    /// An operator ends it, for this reason.
    Kicked(Box<str>),
    /// Its connection has ended, or the host is stopping.
    Gone(Ending),
    /// It was replaced in a topic with a room, and its `terminate` hasn't run yet.
    Replaced,
    /// The build that upgraded its state, or its topic's room, was rolled back.
    RolledBack,
    /// No route serves it any more.
    Unrouted,
    /// Messages of another node to its topic were lost. Its client has to join again.
    MissedMessages,
}

impl MemberEvent {
    /// The bytes that it holds while it waits. The payload of a timer counts with the timers.
    pub(in crate::channel::member) fn bytes(&self) -> usize {
        match self {
            Self::Join { params, .. } => params.len(),
            Self::In { event, payload, .. } => event.len() + payload.len(),
            Self::Info(message) => message.event.len() + message.payload.len(),
            Self::Leave { .. }
            | Self::Timer(_)
            | Self::Fault { .. }
            | Self::Closed(_)
            | Self::Kicked(_)
            | Self::Gone(_)
            | Self::Replaced
            | Self::RolledBack
            | Self::Unrouted
            | Self::MissedMessages => 0,
        }
    }
}
