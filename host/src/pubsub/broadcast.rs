//! A message to all subscribers of a topic.

use std::borrow::Cow;
use std::collections::HashSet;
use std::num::NonZeroU64;
use std::sync::Arc;

use bytestring::ByteString;

use super::Droppable;
use crate::protocol::{DeflateCount, Frame, Outbound, Payload, Ref, Serializer, Topic};

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
    pub droppable: Option<Droppable>,
    /// Its number in the topic's history. The audience sets it, if the topic has a history.
    pub number: Option<NonZeroU64>,
}

/// The members that don't get a broadcast.
#[derive(Clone, Debug, Default)]
pub enum Except {
    /// No member is left out.
    #[default]
    Nobody,
    /// This member is left out, such as the sender.
    Member(u64),
    /// The members whose sockets have this id are left out.
    Socket {
        /// The id.
        id: Arc<str>,
        /// Those of them that are at this node.
        members: Arc<HashSet<u64>>,
    },
}

impl Except {
    /// Whether a member is left out.
    #[must_use]
    pub fn leaves_out(&self, member: u64) -> bool {
        match self {
            Self::Nobody => false,
            Self::Member(out) => *out == member,
            Self::Socket { members, .. } => members.contains(&member),
        }
    }
}

/// The frames of a broadcast, two for each serializer: plain and compressed. Each is made when the first subscriber needs
/// it, and all other subscribers share it.
pub struct Encoded<'a> {
    broadcast: Cow<'a, Broadcast>,
    plain: [Option<Option<Frame>>; Serializer::COUNT],
    deflated: [Option<Option<Frame>>; Serializer::COUNT],
}

impl<'a> Encoded<'a> {
    /// Creates it with no frame encoded.
    #[must_use]
    pub fn new(broadcast: &'a Broadcast) -> Self {
        Self::with(Cow::Borrowed(broadcast))
    }

    /// Creates it for a broadcast that it keeps.
    #[must_use]
    pub fn of(broadcast: Broadcast) -> Encoded<'static> {
        Encoded::with(Cow::Owned(broadcast))
    }

    fn with(broadcast: Cow<'a, Broadcast>) -> Self {
        let [plain, deflated] = [const { [const { None }; Serializer::COUNT] }; 2];
        Self { broadcast, plain, deflated }
    }

    /// The broadcast.
    #[must_use]
    pub fn broadcast(&self) -> &Broadcast {
        &self.broadcast
    }

    /// The bytes of its event and its payload.
    pub(super) fn payload_bytes(&self) -> usize {
        self.broadcast.event.len() + self.broadcast.payload.len()
    }

    /// The bytes of the frames that were made.
    pub(super) fn frame_bytes(&self) -> usize {
        self.plain.iter().chain(&self.deflated).flatten().flatten().map(Frame::len).sum()
    }

    /// Returns the frame, compressed if the subscriber `deflates` and the compression is worth it. Returns `None` if the
    /// serializer can't carry the message: version 1 has no binary payloads.
    #[inline]
    pub fn frame(&mut self, serializer: Serializer, deflates: bool) -> Option<&Frame> {
        if deflates { self.deflated(serializer) } else { self.plain(serializer) }
    }

    #[inline]
    fn plain(&mut self, serializer: Serializer) -> Option<&Frame> {
        let index = serializer.index();
        if self.plain[index].is_none() {
            self.plain[index] = Some(self.encode(serializer));
        }
        self.plain[index].as_ref()?.as_ref()
    }

    /// Never inlined, so that a delivery has only the branch to it.
    #[inline(never)]
    fn encode(&self, serializer: Serializer) -> Option<Frame> {
        let Broadcast { topic, event, payload, number, .. } = &*self.broadcast;
        let (topic, join_ref) = (topic.as_str(), &Ref::NULL);
        serializer.encode(match *number {
            None => Outbound::Broadcast { topic, event, payload },
            Some(number) => Outbound::Numbered { join_ref, number, topic, event, payload },
        })
    }

    /// Never inlined, so that a delivery to a subscriber without compression has only the branch to it.
    #[inline(never)]
    fn deflated(&mut self, serializer: Serializer) -> Option<&Frame> {
        let index = serializer.index();
        if self.deflated[index].is_none() {
            let plain = self.plain(serializer);
            self.deflated[index] = Some(plain.and_then(|frame| frame.deflated_at_once(Frame::SHARED_BYTES_MIN)));
        }
        let plain = self.plain[index].as_ref().and_then(Option::as_ref)?;
        let Some(Some(deflated)) = &self.deflated[index] else { return Some(plain) };
        DeflateCount::BytesSaved.add(plain.len() - deflated.len());
        Some(deflated)
    }
}
