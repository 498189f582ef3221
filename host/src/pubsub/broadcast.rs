//! A message to everybody on a topic.

use std::collections::HashSet;
use std::sync::Arc;

use bytestring::ByteString;

use crate::protocol::{Frame, Outbound, Payload, Serializer, Topic};

/// A broadcast, before it is encoded.
#[derive(Clone, Debug)]
pub struct Broadcast {
    /// Where it goes.
    pub topic: Topic,
    /// The event.
    pub event: ByteString,
    /// What it carries.
    pub payload: Payload,
    /// Who is left out.
    pub except: Except,
}

/// Who doesn't get a broadcast.
#[derive(Clone, Debug, Default)]
pub enum Except {
    /// Everybody gets it.
    #[default]
    Nobody,
    /// This member, such as the sender.
    Member(u64),
    /// These members.
    Members(Arc<HashSet<u64>>),
}

impl Except {
    /// Whether a member is left out.
    #[must_use]
    pub fn leaves_out(&self, member: u64) -> bool {
        match self {
            Self::Nobody => false,
            Self::Member(out) => *out == member,
            Self::Members(out) => out.contains(&member),
        }
    }
}

/// The frames of a broadcast, each made when the first subscriber needs it.
pub struct Encoded<'a> {
    broadcast: &'a Broadcast,
    frames: [Option<Option<Frame>>; Serializer::COUNT],
}

impl<'a> Encoded<'a> {
    /// Nothing is encoded yet.
    #[must_use]
    pub fn new(broadcast: &'a Broadcast) -> Self {
        Self { broadcast, frames: [const { None }; Serializer::COUNT] }
    }

    /// The frame, or none where the serializer can't carry the message: a client of version 1 gets no bytes.
    pub fn frame(&mut self, serializer: Serializer) -> Option<&Frame> {
        let Broadcast { topic, event, payload, .. } = self.broadcast;
        self.frames[serializer.index()]
            .get_or_insert_with(|| serializer.encode(Outbound::Broadcast { topic: topic.as_str(), event, payload }))
            .as_ref()
    }
}
