//! A change of a topic's published state: a patch for subscribers that have the state before it, and the whole state
//! for the others.

use bytestring::ByteString;

use super::broadcast::Encoded;
use super::{Broadcast, Except, Outbox};
use crate::protocol::{Frame, Payload, Serializer, Topic};

/// The event that carries a whole state.
const STATE: &str = "room_state";
/// The event that carries a change.
const DIFF: &str = "room_diff";

/// One change of a published state.
#[derive(Clone, Debug)]
pub struct StateUpdate {
    /// The topic of the state.
    pub topic: Topic,
    /// Its number: one more than the number of the change before it.
    pub number: u64,
    /// The whole state after the change: the text of a JSON object.
    pub state: ByteString,
    /// The change as a JSON merge patch (RFC 7396). `None` if the patch would be no shorter than the whole state.
    pub patch: Option<ByteString>,
}

/// The frames of a change. Each is encoded when the first subscriber needs it.
pub(super) struct EncodedUpdate<'a> {
    all: Encoded<'a>,
    changed: Option<Encoded<'a>>,
}

impl StateUpdate {
    /// Returns the message that carries the whole state.
    #[must_use]
    pub fn all(&self) -> Broadcast {
        self.broadcast(STATE, &format!("{{\"n\":{},\"state\":{}}}", self.number, self.state))
    }

    fn changed(&self) -> Option<Broadcast> {
        let patch = self.patch.as_ref()?;
        Some(self.broadcast(DIFF, &format!("{{\"n\":{},\"patch\":{patch}}}", self.number)))
    }

    fn broadcast(&self, event: &'static str, payload: &str) -> Broadcast {
        let (topic, event) = (self.topic.clone(), ByteString::from_static(event));
        Broadcast { topic, event, payload: Payload::Json(payload.into()), except: Except::Nobody }
    }

    /// Returns the messages for [`EncodedUpdate`]: the whole state, and the change if there is a patch.
    pub(super) fn messages(&self) -> (Broadcast, Option<Broadcast>) {
        (self.all(), self.changed())
    }
}

impl<'a> EncodedUpdate<'a> {
    pub(super) fn new((all, changed): &'a (Broadcast, Option<Broadcast>)) -> Self {
        Self { all: Encoded::new(all), changed: changed.as_ref().map(Encoded::new) }
    }

    /// Sends one subscriber the change if it `follows`, else the whole state. Returns whether it follows from now on. A
    /// subscriber whose outbox is more than a quarter full misses this change. It gets the whole state with the next
    /// change for which there is room, or by [`catch_up`](super::Audience::catch_up).
    pub(super) fn send(&mut self, follows: bool, serializer: Serializer, outbox: &Outbox) -> bool {
        let changed = self.changed.as_mut().filter(|_| follows);
        let frame: Option<&Frame> = changed.unwrap_or(&mut self.all).frame(serializer);
        frame.is_none_or(|frame| outbox.push_if_short(frame))
    }
}
