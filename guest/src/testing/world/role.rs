//! A member on a stage, and what came to its client.

use std::collections::VecDeque;

use super::super::facts::Facts;
use super::super::record::Holdings;
use super::super::saved::Saved;
use super::super::{Sent, Timer};
use crate::{Payload, Reply, Value};

/// What came to a client.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::testing) enum Came {
    /// A reply, to the message of this ref.
    Reply(Option<String>, Reply),
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
    pub(super) received: u64,
    pub(super) facts: Facts,
    pub(super) holdings: Holdings,
    pub(super) timers: Vec<Timer>,
    /// The seat that it sits on.
    pub(super) seat: Option<String>,
    /// What its client has of the topic's published state.
    pub(in crate::testing) room_state: Option<Value>,
}

impl Role {
    /// One that has just come in.
    pub(super) fn new(topic: &str, response: Payload, facts: Facts) -> Self {
        Self {
            topic: topic.into(),
            came: VecDeque::new(),
            response,
            is_in: true,
            assigns: Saved::default(),
            received: 0,
            facts,
            holdings: Holdings::default(),
            timers: Vec::new(),
            seat: None,
            room_state: None,
        }
    }
}
