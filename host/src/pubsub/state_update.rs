//! A topic's published state, on its way: what changed to those who follow, all of it to those who couldn't.

use bytestring::ByteString;

use super::broadcast::Encoded;
use super::{Broadcast, Except, Outbox};
use crate::protocol::{Frame, Payload, Serializer, Topic};

/// The event that carries all of a state.
const STATE: &str = "room_state";
/// The event that carries what changed.
const DIFF: &str = "room_diff";

/// One change of a published state.
#[derive(Clone, Debug)]
pub struct StateUpdate {
    /// Whose state it is.
    pub topic: Topic,
    /// Its number, one more than that of the change before.
    pub number: u64,
    /// All of it after the change, the text of a JSON object.
    pub state: ByteString,
    /// What changed, as a JSON merge patch (RFC 7396); none where that would be no shorter than all of it.
    pub patch: Option<ByteString>,
}

/// The frames of a step, each made when the first subscriber needs it.
pub(super) struct EncodedUpdate<'a> {
    all: Encoded<'a>,
    changed: Option<Encoded<'a>>,
}

impl StateUpdate {
    /// The message that carries all of it.
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

    /// Its two messages, for [`EncodedStep`].
    pub(super) fn messages(&self) -> (Broadcast, Option<Broadcast>) {
        (self.all(), self.changed())
    }
}

impl<'a> EncodedUpdate<'a> {
    pub(super) fn new((all, changed): &'a (Broadcast, Option<Broadcast>)) -> Self {
        Self { all: Encoded::new(all), changed: changed.as_ref().map(Encoded::new) }
    }

    /// Gives one subscriber what it needs. Whether it follows from now on: one whose outbox has filled to a quarter misses this
    /// step, and gets all of the state with the next one for which there is room, or by [`catch_up`](super::Audience::catch_up).
    pub(super) fn send(&mut self, follows: bool, serializer: Serializer, outbox: &Outbox) -> bool {
        let changed = self.changed.as_mut().filter(|_| follows);
        let frame: Option<&Frame> = changed.unwrap_or(&mut self.all).frame(serializer);
        frame.is_none_or(|frame| outbox.push_if_short(frame))
    }
}
