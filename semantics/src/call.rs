//! The input of a plugin's callbacks.

use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;

use crate::{AnswerRef, FaultKind, Payload, RouteSpec, Topic};

/// The origin of a message for `handle_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The member sent it to itself, now or by a timer.
    Own,
    /// It is an event of the topic that `handle_out` handed over.
    Intercept,
    /// It is an event of a further topic to which the member is subscribed.
    Topic,
    /// It is the reply of another topic's `handle_message` to a `send`.
    Answer,
    /// A plugin has scheduled it for this time.
    Schedule,
    /// A line of the configuration has this time.
    Cron,
    /// A generation of the plugin began to serve.
    Start,
    /// It is the answer to a request by HTTP.
    Http,
    /// A callback or another program sent it to this member.
    Member,
}

impl Source {
    /// Its name in the contract.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Own => "self",
            Self::Intercept => "intercept",
            Self::Topic => "topic",
            Self::Answer => "answer",
            Self::Schedule => "schedule",
            Self::Cron => "cron",
            Self::Start => "start",
            Self::Http => "http",
            Self::Member => "member",
        }
    }
}

/// A message that no client sent.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its origin.
    pub source: Source,
    /// The topic that it belongs to.
    pub topic: Topic,
    /// Its event.
    pub event: ByteString,
    /// Its payload.
    pub payload: Payload,
}

/// Why a member ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its client left.
    Left,
    /// Its connection ended.
    Closed,
    /// The same client joined the topic again.
    Replaced,
    /// The plugin stopped it, for this reason.
    Stopped(String),
    /// An operator or another program ended it, for this reason.
    Kicked(String),
    /// The host is stopping.
    Shutdown,
    /// A callback failed.
    Fault(FaultKind),
    /// The build that upgraded its state was rolled back.
    RolledBack,
}

impl Ending {
    /// Its name in the contract.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Closed => "closed",
            Self::Replaced => "replaced",
            Self::Stopped(_) => "stopped",
            Self::Kicked(_) => "kicked",
            Self::Shutdown => "shutdown",
            Self::Fault(_) => "fault",
            Self::RolledBack => "taken-back",
        }
    }

    /// The detail in the contract, in addition to the cause.
    #[must_use]
    pub fn detail(&self) -> &str {
        match self {
            Self::Stopped(reason) | Self::Kicked(reason) => reason,
            Self::Fault(kind) => kind.as_str(),
            Self::Left | Self::Closed | Self::Replaced | Self::Shutdown | Self::RolledBack => "",
        }
    }
}

/// A callback of a member, with its arguments.
#[derive(Clone, Debug)]
pub enum Callback {
    /// `join`, with the client's parameters. The assigns are empty before it.
    Join(Payload),
    /// `handle-in`.
    In {
        /// The client's event.
        event: ByteString,
        /// Its payload.
        payload: Payload,
        /// The JSON text of its ref, if it had one.
        reply_ref: Option<ByteString>,
    },
    /// `handle-info`.
    Info(Message),
    /// `terminate`.
    Terminate(Ending),
}

impl Callback {
    /// The payload of the input. The plugin may return it unchanged.
    #[must_use]
    pub fn given(&self) -> Option<&Payload> {
        match self {
            Self::Join(payload) | Self::In { payload, .. } => Some(payload),
            Self::Info(message) => Some(&message.payload),
            Self::Terminate(_) => None,
        }
    }

    /// Its name, for logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Join(_) => "join",
            Self::In { .. } => "handle_in",
            Self::Info(_) => "handle_info",
            Self::Terminate(_) => "terminate",
        }
    }

    /// The event that it handles, if any.
    #[must_use]
    pub fn event(&self) -> Option<&str> {
        match self {
            Self::In { event, .. } => Some(event),
            Self::Info(message) => Some(&message.event),
            Self::Join(_) | Self::Terminate(_) => None,
        }
    }
}

/// A call of a topic's callback, which has no member.
#[derive(Clone, Debug)]
pub struct TopicCall {
    /// The topic.
    pub topic: Topic,
    /// Its shared state, if the route has a room.
    pub room: Option<Bytes>,
    /// Which callback.
    pub callback: TopicCallback,
}

/// A callback of a topic, with its arguments.
#[derive(Clone, Debug)]
pub enum TopicCallback {
    /// `handle-message`.
    Message {
        /// The event that was sent.
        event: ByteString,
        /// Its payload.
        payload: Payload,
        /// Names the message for a later answer, if somebody waits for its answer.
        answer_ref: Option<AnswerRef>,
    },
    /// `handle-topic-info`.
    Info(TopicInfo),
    /// `handle-tick`.
    Tick(Tick),
    /// `handle-seat`.
    Seat {
        /// The name of the seat.
        name: ByteString,
        /// The change of the seat.
        change: SeatChange,
    },
}

/// A message that no client and no other topic sent.
#[derive(Clone, Debug)]
pub struct TopicInfo {
    /// The message. Its topic is the topic of the call.
    pub message: Message,
    /// The schedule that it comes from.
    pub fired: Option<Fired>,
}

/// A schedule that fires, or a time of a cron line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fired {
    /// When it was due, in milliseconds since 1970.
    pub due_ms: u64,
    /// Its key. `None` for a cron line.
    pub key: Option<Box<str>>,
}

/// A change of a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeatChange {
    /// A member took it.
    Taken,
    /// The connection of its last member dropped, and its grace period began.
    Dropped,
    /// A member took it during its grace period.
    Returned,
    /// Its last member left it, or the grace period ended.
    Gone,
}

/// A tick of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Its number, counted from 1. Skipped ticks are counted too.
    pub number: u64,
    /// The number of ticks that were skipped since the last handled one.
    pub missed: u32,
    /// The tick period.
    pub period: Duration,
}

impl TopicCallback {
    /// The payload of the input. The plugin may return it unchanged.
    #[must_use]
    pub fn given(&self) -> Option<&Payload> {
        match self {
            Self::Message { payload, .. } => Some(payload),
            Self::Info(info) => Some(&info.message.payload),
            Self::Tick(_) | Self::Seat { .. } => None,
        }
    }

    /// Its name, for logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Message { .. } => "handle_message",
            Self::Info(_) => "handle_topic_info",
            Self::Tick(_) => "handle_tick",
            Self::Seat { .. } => "handle_seat",
        }
    }

    /// The event that it handles, if any.
    #[must_use]
    pub fn event(&self) -> Option<&str> {
        match self {
            Self::Message { event, .. } => Some(event),
            Self::Info(info) => Some(&info.message.event),
            Self::Tick(_) | Self::Seat { .. } => None,
        }
    }

    /// The seat that changed, if it is `handle-seat`.
    #[must_use]
    pub fn seat(&self) -> Option<&str> {
        match self {
            Self::Seat { name, .. } => Some(name),
            Self::Message { .. } | Self::Info(_) | Self::Tick(_) => None,
        }
    }

    /// The name of the message for a later answer, if it is `handle-message` and somebody waits for the answer.
    #[must_use]
    pub fn answer_ref(&self) -> Option<AnswerRef> {
        match self {
            Self::Message { answer_ref, .. } => *answer_ref,
            Self::Info(_) | Self::Tick(_) | Self::Seat { .. } => None,
        }
    }

    /// The schedule that it comes from, if it is `handle-topic-info`.
    #[must_use]
    pub fn fired(&self) -> Option<&Fired> {
        match self {
            Self::Info(info) => info.fired.as_ref(),
            Self::Message { .. } | Self::Tick(_) | Self::Seat { .. } => None,
        }
    }
}

/// A member that an intercepted event is about to reach.
#[derive(Clone, Debug)]
pub struct Recipient {
    /// Its number.
    pub id: u64,
    /// Its state as last committed.
    pub assigns: Bytes,
}

/// An intercepted event, before it is delivered.
#[derive(Clone, Debug)]
pub struct Passing {
    /// The topic.
    pub topic: Topic,
    /// The event.
    pub event: ByteString,
    /// Its payload.
    pub payload: Payload,
    /// The members that it is about to reach.
    pub recipients: Vec<Recipient>,
}

/// The owner of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A member.
    Assigns,
    /// A topic.
    Room,
}

impl Part {
    /// The version in which a route's build writes this state.
    #[must_use]
    pub fn version(self, spec: &RouteSpec) -> u32 {
        match self {
            Self::Assigns => spec.assigns_version,
            Self::Room => spec.room_version,
        }
    }
}

/// An entry that another version wrote, to be upgraded.
#[derive(Clone, Debug)]
pub struct EntryUpgrade {
    /// The topic.
    pub topic: Topic,
    /// The key.
    pub key: Box<[u8]>,
    /// The version that wrote it.
    pub version: u32,
    /// The value.
    pub value: Box<[u8]>,
}

/// A state that another version wrote, to be upgraded.
#[derive(Clone, Debug)]
pub struct Upgrade {
    /// The topic.
    pub topic: Topic,
    /// The owner of the state.
    pub part: Part,
    /// The version that wrote it.
    pub version: u32,
    /// The state.
    pub state: Bytes,
}
