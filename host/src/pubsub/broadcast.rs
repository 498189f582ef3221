//! A message to all subscribers of a topic.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use bytestring::ByteString;

use super::DropKey;
use crate::protocol::{Frame, Outbound, Payload, Serializer, Topic};

/// A broadcast, before it is encoded.
#[derive(Clone, Debug)]
pub struct Broadcast {
    /// The topic whose subscribers get it.
    pub topic: Topic,
    /// The event name.
    pub event: ByteString,
    /// The payload.
    pub payload: Payload,
    /// The members that don't get it.
    pub except: Except,
    /// For a droppable message: its key. A slow client gets only the last message with this key.
    pub droppable: Option<DropKey>,
}

/// The members that don't get a broadcast.
#[derive(Clone, Debug, Default)]
pub enum Except {
    /// No member is left out.
    #[default]
    Nobody,
    /// This member is left out, such as the sender.
    Member(u64),
    /// These members are left out.
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

/// The frames of a broadcast, one for each serializer. Each is encoded when the first subscriber needs it.
pub struct Encoded<'a> {
    broadcast: Cow<'a, Broadcast>,
    frames: [Option<Option<Frame>>; Serializer::COUNT],
}

impl<'a> Encoded<'a> {
    /// Creates it with no frame encoded.
    #[must_use]
    pub fn new(broadcast: &'a Broadcast) -> Self {
        Self { broadcast: Cow::Borrowed(broadcast), frames: [const { None }; Serializer::COUNT] }
    }

    /// Creates it for a broadcast that it keeps.
    #[must_use]
    pub fn of(broadcast: Broadcast) -> Encoded<'static> {
        Encoded { broadcast: Cow::Owned(broadcast), frames: [const { None }; Serializer::COUNT] }
    }

    /// Returns the frame. Returns `None` if the serializer can't carry the message: version 1 has no binary payloads.
    pub fn frame(&mut self, serializer: Serializer) -> Option<&Frame> {
        let broadcast = &self.broadcast;
        self.frames[serializer.index()]
            .get_or_insert_with(|| {
                let Broadcast { topic, event, payload, .. } = &**broadcast;
                serializer.encode(Outbound::Broadcast { topic: topic.as_str(), event, payload })
            })
            .as_ref()
    }
}
