//! What goes into a plugin.

use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;

use crate::{FaultKind, Payload, RouteSpec, TimerId, Topic};

/// Where a message for `handle_info` came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The member sent it to itself, now or by a timer.
    Own,
    /// An event of the topic that `handle_out` handed over.
    Intercept,
    /// An event of a further topic that the member subscribed to.
    Topic,
    /// What another topic's `handle_message` replied to a `send`.
    Answer,
}

impl Source {
    /// Its word in the contract.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Own => "self",
            Self::Intercept => "intercept",
            Self::Topic => "topic",
            Self::Answer => "answer",
        }
    }
}

/// A message that no client sent.
#[derive(Clone, Debug)]
pub struct Message {
    /// Where it came from.
    pub source: Source,
    /// The topic that it belongs to.
    pub topic: Topic,
    /// Its event.
    pub event: ByteString,
    /// What it carries.
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
    /// The plugin stopped it, and why.
    Stopped(String),
    /// The host is stopping.
    Shutdown,
    /// A callback failed.
    Fault(FaultKind),
    /// The build that took its state over was taken back.
    TakenBack,
}

impl Ending {
    /// Its word in the contract.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Closed => "closed",
            Self::Replaced => "replaced",
            Self::Stopped(_) => "stopped",
            Self::Shutdown => "shutdown",
            Self::Fault(_) => "fault",
            Self::TakenBack => "taken-back",
        }
    }

    /// What the contract says beside the cause.
    #[must_use]
    pub fn detail(&self) -> &str {
        match self {
            Self::Stopped(reason) => reason,
            Self::Fault(kind) => kind.as_str(),
            Self::Left | Self::Closed | Self::Replaced | Self::Shutdown | Self::TakenBack => "",
        }
    }
}

/// Which callback, with its own arguments.
#[derive(Clone, Debug)]
pub enum Callback {
    /// `join`, with what the client sent along. The assigns are empty before it.
    Join(Payload),
    /// `handle-in`.
    In {
        /// The client's event.
        event: ByteString,
        /// What it carries.
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
    /// The payload that it is given, which the plugin may give back as it is.
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

    /// The event that it handles, if it handles one.
    #[must_use]
    pub fn event(&self) -> Option<&str> {
        match self {
            Self::In { event, .. } => Some(event),
            Self::Info(message) => Some(&message.event),
            Self::Join(_) | Self::Terminate(_) => None,
        }
    }
}

/// What a member has at the host, for the limits of what it may ask for.
#[derive(Clone, Debug, Default)]
pub struct MemberUsage {
    /// Its timers that haven't been handled.
    pub timers: Vec<TimerId>,
    /// The number that its next timer gets.
    pub next_timer: TimerId,
    /// The keys of its presences.
    pub presences: Vec<ByteString>,
    /// The further topics that it subscribed to.
    pub topics: Vec<Topic>,
}

/// One call about a topic, without a member.
#[derive(Clone, Debug)]
pub struct TopicCall {
    /// The topic.
    pub topic: Topic,
    /// Its shared state, where the route has one.
    pub room: Option<Bytes>,
    /// Which callback.
    pub callback: TopicCallback,
}

/// Which callback of a topic, with its own arguments.
#[derive(Clone, Debug)]
pub enum TopicCallback {
    /// `handle-message`.
    Message {
        /// The event that was sent.
        event: ByteString,
        /// What it carries.
        payload: Payload,
    },
    /// `handle-tick`.
    Tick(Tick),
    /// `handle-seat`.
    Seat {
        /// Whose seat it is.
        name: ByteString,
        /// What has become of it.
        change: SeatChange,
    },
}

/// What has become of a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeatChange {
    /// A member took it.
    Taken,
    /// The last member on it dropped without leaving, and it is kept for a while.
    Dropped,
    /// A member took it while it was kept.
    Returned,
    /// It was given up, or nobody came back in time.
    Gone,
}

/// A beat of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Its number, counted from 1; beats that were left out are counted too.
    pub number: u64,
    /// How many were left out since the last one that was handled.
    pub missed: u32,
    /// The time from one to the next.
    pub period: Duration,
}

impl TopicCallback {
    /// The payload that it is given, which the plugin may give back as it is.
    #[must_use]
    pub fn given(&self) -> Option<&Payload> {
        match self {
            Self::Message { payload, .. } => Some(payload),
            Self::Tick(_) | Self::Seat { .. } => None,
        }
    }

    /// Its name, for logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Message { .. } => "handle_message",
            Self::Tick(_) => "handle_tick",
            Self::Seat { .. } => "handle_seat",
        }
    }

    /// The event that it handles, if it handles one.
    #[must_use]
    pub fn event(&self) -> Option<&str> {
        match self {
            Self::Message { event, .. } => Some(event),
            Self::Tick(_) | Self::Seat { .. } => None,
        }
    }

    /// The seat that it is about, if it is about one.
    #[must_use]
    pub fn seat(&self) -> Option<&str> {
        match self {
            Self::Seat { name, .. } => Some(name),
            Self::Message { .. } | Self::Tick(_) => None,
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

/// An intercepted event on its way.
#[derive(Clone, Debug)]
pub struct Passing {
    /// The topic.
    pub topic: Topic,
    /// The event.
    pub event: ByteString,
    /// What it carries.
    pub payload: Payload,
    /// Whom it is about to reach.
    pub recipients: Vec<Recipient>,
}

/// What a state is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A member.
    Assigns,
    /// A topic.
    Room,
}

impl Part {
    /// The version in which a route's build writes it.
    #[must_use]
    pub fn version(self, spec: &RouteSpec) -> u32 {
        match self {
            Self::Assigns => spec.assigns_version,
            Self::Room => spec.room_version,
        }
    }
}

/// A state that another version wrote, to be taken over.
#[derive(Clone, Debug)]
pub struct Upgrade {
    /// The topic.
    pub topic: Topic,
    /// What it is of.
    pub part: Part,
    /// The version that wrote it.
    pub version: u32,
    /// The state.
    pub state: Bytes,
}
