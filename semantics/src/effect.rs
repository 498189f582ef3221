//! One act that a plugin asks for.

use std::time::Duration;

use bytestring::ByteString;
use serde_json::{Map, Value};

use crate::{Payload, Reply, Topic, read_object};

/// A timer's number, unique within its member.
pub type TimerId = u64;

/// A topic's published state: the text that clients get, and the parsed object that the host compares with the next
/// state.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishedState {
    text: ByteString,
    fields: Map<String, Value>,
}

impl PublishedState {
    /// Parses the text of a JSON object. The object is kept with the text, so that the text is parsed once only.
    ///
    /// # Errors
    /// If the text isn't a JSON object that the host can read.
    pub fn read(text: ByteString) -> serde_json::Result<Self> {
        let fields = read_object(&text)?;
        Ok(Self { text, fields })
    }

    /// Its text, and the parsed object.
    #[must_use]
    pub fn into_parts(self) -> (ByteString, Map<String, Value>) {
        (self.text, self.fields)
    }
}

/// An effect: recorded while a call runs, and carried out after it has succeeded.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// An event to the member's own client.
    Push {
        /// The event.
        event: ByteString,
        /// Its payload.
        payload: Payload,
    },
    /// An event to all members of the topic.
    Broadcast {
        /// The event.
        event: ByteString,
        /// Its payload.
        payload: Payload,
        /// Whether the member itself doesn't get it.
        skip_self: bool,
    },
    /// An event to all members of another topic.
    Publish {
        /// That topic.
        topic: Topic,
        /// The event.
        event: ByteString,
        /// Its payload.
        payload: Payload,
    },
    /// An answer to an earlier message.
    Reply {
        /// The JSON text of that message's ref.
        reply_ref: ByteString,
        /// The answer.
        reply: Reply,
    },
    /// A message to the member's own `handle_info`.
    SendSelf {
        /// The event.
        event: ByteString,
        /// Its payload.
        payload: Payload,
    },
    /// The same, after a delay.
    SendAfter {
        /// The timer's number.
        timer: TimerId,
        /// The delay.
        after: Duration,
        /// The event.
        event: ByteString,
        /// Its payload.
        payload: Payload,
    },
    /// The end of a timer, before it fires.
    Cancel(TimerId),
    /// An event to another topic's `handle_message`.
    Send {
        /// That topic.
        topic: Topic,
        /// The event.
        event: ByteString,
        /// Its payload.
        payload: Payload,
    },
    /// A subscription of the member to the broadcasts of a further topic.
    Subscribe(Topic),
    /// The end of such a subscription.
    Unsubscribe(Topic),
    /// The end of every socket with this id.
    Disconnect(ByteString),
    /// A presence of the member.
    Track {
        /// Its key.
        key: ByteString,
        /// Its meta: the text of a JSON object.
        meta: ByteString,
    },
    /// A new meta for a presence of the member.
    UpdatePresence {
        /// The key.
        key: ByteString,
        /// The new meta: the text of a JSON object.
        meta: ByteString,
    },
    /// The end of the presence with this key.
    Untrack(ByteString),
    /// All presences of the topic to the member's own client.
    PushPresences,
    /// The topic's new published state.
    PublishState(PublishedState),
    /// A seat of the topic for the member. If the member's connection drops, the host keeps the seat for a grace
    /// period.
    TakeSeat {
        /// The name of the seat.
        name: ByteString,
        /// The grace period.
        grace: Duration,
    },
    /// The end of the member's seat.
    LeaveSeat,
    /// The topic's tick period. `None` ends the tick.
    SetTick(Option<Duration>),
}

/// What an effect needs when its call has succeeded. If it is missing, the call fails before any effect is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need<'a> {
    /// No more than a place in the queue of the topic's own frames, which every effect may take.
    Nothing,
    /// The topic's room, which its route may not have.
    Room,
    /// A place in the member's own mailbox, for this number of bytes.
    Mailbox(usize),
    /// This number of bytes of the member's mailbox, until a timer fires.
    Timer(usize),
    /// A place in the queue of another topic's frames.
    Audience(&'a Topic),
    /// A place in the turn queue of another topic, for this number of bytes.
    Message(&'a Topic, usize),
}

impl Effect {
    /// What it needs.
    #[must_use]
    pub fn need(&self) -> Need<'_> {
        match self {
            Self::SetTick(_) | Self::PublishState(_) | Self::TakeSeat { .. } => Need::Room,
            Self::SendSelf { event, payload } => Need::Mailbox(event.len() + payload.len()),
            Self::SendAfter { event, payload, .. } => Need::Timer(event.len() + payload.len()),
            Self::Publish { topic, .. } => Need::Audience(topic),
            Self::Send { topic, event, payload } => Need::Message(topic, event.len() + payload.len()),
            Self::Push { .. }
            | Self::Broadcast { .. }
            | Self::Reply { .. }
            | Self::Cancel(_)
            | Self::Subscribe(_)
            | Self::Unsubscribe(_)
            | Self::Disconnect(_)
            | Self::Track { .. }
            | Self::UpdatePresence { .. }
            | Self::Untrack(_)
            | Self::PushPresences
            | Self::LeaveSeat => Need::Nothing,
        }
    }
}
