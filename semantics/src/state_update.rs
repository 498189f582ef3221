//! A change of a topic's published state: a patch for members that have the state before it, and the whole state for
//! the others.

use bytestring::ByteString;

use crate::{Payload, Topic};

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

/// An event and its payload.
type StateMessage = (&'static str, Payload);

impl StateUpdate {
    /// Returns the message that carries the whole state.
    #[must_use]
    pub fn all(&self) -> StateMessage {
        (STATE, Payload::Json(format!("{{\"n\":{},\"state\":{}}}", self.number, self.state).into()))
    }

    /// Returns the message that carries the change, if there is a patch.
    #[must_use]
    pub fn changed(&self) -> Option<StateMessage> {
        let patch = self.patch.as_ref()?;
        Some((DIFF, Payload::Json(format!("{{\"n\":{},\"patch\":{patch}}}", self.number).into())))
    }
}
