//! One act that a plugin asks for.

use std::time::Duration;

use bytestring::ByteString;
use serde_json::{Map, Value};

use crate::{Payload, Reply, Topic, read_object};

/// A timer's number, unique within its member.
pub type TimerId = u64;

/// A topic's published state: its text, which clients get, and what the text says, in which the host looks for changes.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishedState {
    text: ByteString,
    fields: Map<String, Value>,
}

impl PublishedState {
    /// Reads the text of a JSON object. The result is kept with the text, so that nothing reads the text a second time
    /// and comes to another opinion about it.
    ///
    /// # Errors
    /// Where the text is no JSON object, or not one that the host can read.
    pub fn read(text: ByteString) -> serde_json::Result<Self> {
        let fields = read_object(&text)?;
        Ok(Self { text, fields })
    }

    /// Its text, and what the text says.
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
        /// What it carries.
        payload: Payload,
    },
    /// An event to all members of the topic.
    Broadcast {
        /// The event.
        event: ByteString,
        /// What it carries.
        payload: Payload,
        /// Whether the member itself is left out.
        skip_self: bool,
    },
    /// An event to all members of another topic.
    Publish {
        /// That topic.
        topic: Topic,
        /// The event.
        event: ByteString,
        /// What it carries.
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
        /// What it carries.
        payload: Payload,
    },
    /// The same, later.
    SendAfter {
        /// The timer's number.
        timer: TimerId,
        /// How much later.
        after: Duration,
        /// The event.
        event: ByteString,
        /// What it carries.
        payload: Payload,
    },
    /// A timer taken back.
    Cancel(TimerId),
    /// An event to another topic's `handle_message`.
    Send {
        /// That topic.
        topic: Topic,
        /// The event.
        event: ByteString,
        /// What it carries.
        payload: Payload,
    },
    /// The member is to hear what is broadcast to a further topic.
    Subscribe(Topic),
    /// The end of that.
    Unsubscribe(Topic),
    /// Every socket with this id is to be closed.
    Disconnect(ByteString),
    /// The member is online.
    Track {
        /// Under this key.
        key: ByteString,
        /// With this, the text of a JSON object.
        meta: ByteString,
    },
    /// Another meta in place of the one that the key has.
    UpdatePresence {
        /// The key.
        key: ByteString,
        /// The text of a JSON object.
        meta: ByteString,
    },
    /// The member is online under this key no more.
    Untrack(ByteString),
    /// All presences of the topic to the member's own client.
    PushPresences,
    /// The topic's published state is this.
    PublishState(PublishedState),
    /// The member sits on a seat of its topic, which is kept for it for a while when it drops.
    TakeSeat {
        /// Whose seat it is.
        name: ByteString,
        /// For how long it is kept.
        grace: Duration,
    },
    /// The member gives its seat up.
    LeaveSeat,
    /// The topic's `handle_tick` is to be called in this rhythm, or no more.
    SetTick(Option<Duration>),
}

/// What an effect needs when its call has succeeded. If it is missing, the call fails before any effect is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need<'a> {
    /// No more than a place in the queue of the topic's own frames, which every effect may take.
    Nothing,
    /// The topic's room, which its route may not have.
    Room,
    /// A place in the member's own mailbox, for so many bytes.
    Mailbox(usize),
    /// So many bytes of the member's mailbox, until a timer fires.
    Timer(usize),
    /// A place in the queue of another topic's frames.
    Audience(&'a Topic),
    /// A place in the turn queue of another topic, for so many bytes.
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
