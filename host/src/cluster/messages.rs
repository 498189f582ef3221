//! What the hosts of a cluster tell each other. The link carries these messages as bytes, which [`encode`](super::codec::encode)
//! and [`decode`](super::codec::decode) write and read.

use bytes::Bytes;
use bytestring::ByteString;

use crate::channel::MemberSelector;
use crate::contract::Person;
use crate::presence::{Delta, Presence, ShareEnd};
use crate::protocol::{Pattern, Payload, Topic};
use crate::pubsub::{Broadcast, Except, MemberInfo};

/// The most patterns of watched topics in one message.
pub(super) const WATCHED_MAX: usize = 4_096;

/// The most topics in one message of counts. More need several messages.
pub(super) const COUNTS_MAX: usize = 4_096;

/// The most topics of which a node says that it has lost messages. With more, all topics are meant.
pub(super) const DROPPED_MAX: usize = 1_024;

/// A message of a node, with the time of the last unique id that the node has drawn.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NodeMessage {
    /// The time and the count of that id: 48 bits of milliseconds, and 16 bits.
    pub(super) id_time: u64,
    /// The message itself.
    pub(super) body: MessageBody,
}

/// The clocks of a node's presences, by shard.
pub(super) type Clocks = [u64; Presence::SHARDS as usize];

/// What a message says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum MessageBody {
    /// A broadcast to a topic.
    Broadcast(BroadcastMessage),
    /// The sockets with this id have to be closed.
    Disconnect(ByteString),
    /// An event for the `handle_info` of one member.
    Member {
        /// The topic of the sender.
        from: Topic,
        /// The topic of the member.
        topic: Topic,
        /// The member.
        member: u64,
        /// The event.
        event: ByteString,
        /// Its payload.
        payload: Payload,
    },
    /// An event for the clients of a topic's members whose sockets have an id.
    Socket {
        /// The topic.
        topic: Topic,
        /// The id.
        socket_id: ByteString,
        /// The event.
        event: ByteString,
        /// Its payload.
        payload: Payload,
    },
    /// Presences of the sender.
    Presence(Delta),
    /// All presences of the sender in this shard have been sent.
    PresenceEnd(u16, ShareEnd),
    /// The clocks of the sender's presences.
    Clocks(Box<Clocks>),
    /// The receiver has to send all its presences in these shards, one bit each.
    PresenceWanted(u16),
    /// The numbers of members that topics have at the sender.
    Counts {
        /// Whether topics that aren't named in this message, or in a following one, have no members.
        is_first: bool,
        /// The topics with their numbers.
        counts: Vec<(Topic, u32)>,
    },
    /// The receiver has to send the numbers of members of all its topics.
    CountsWanted,
    /// The sender wants to know of joins and leaves in topics that match these patterns. It replaces what it wanted before.
    Watched(Vec<Pattern>),
    /// A member of a watched topic has joined or ended.
    MemberEvent {
        /// The topic.
        topic: Topic,
        /// The member.
        info: MemberInfo,
        /// Whether it has joined.
        has_joined: bool,
    },
    /// The sender had no room for some messages: those to topics with these hashes, or to any.
    Dropped(Option<Vec<u64>>),
    /// The records of the cluster's plugins have changed.
    RegistryChanged,
    /// A question. The answer must have the same number.
    Question(u64, NodeQuestion),
    /// An answer.
    Answer(u64, NodeAnswer),
}

/// A broadcast, as it travels.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BroadcastMessage {
    /// The topic.
    pub(super) topic: Topic,
    /// The event.
    pub(super) event: ByteString,
    /// The payload.
    pub(super) payload: Payload,
    /// The members that don't get it.
    pub(super) except: LeftOut,
    /// For a droppable message: its key.
    pub(super) droppable: Option<ByteString>,
}

/// The members that don't get a broadcast, as any node can find them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LeftOut {
    /// No member is left out.
    Nobody,
    /// This member.
    Member(u64),
    /// The members whose sockets have this id.
    Socket(ByteString),
}

/// What a node asks all others.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeQuestion {
    /// Close the sockets with this id. How many were there?
    Disconnect(ByteString),
    /// Which members does a topic have, at most so many?
    Members(Topic, u32),
    /// Send an event to the `handle_info` of the selected members. How many are there?
    SendMembers(ToMembers),
    /// Push an event to the clients of the selected members. How many are there?
    PushMembers(ToMembers),
    /// End the selected members of a topic, or of all topics. How many were there?
    Kick {
        /// The topic. None for all topics.
        topic: Option<Topic>,
        /// Which members.
        selector: MemberSelector,
        /// The reason.
        reason: ByteString,
    },
    /// What does `GET /api/inspect` say there?
    Inspect,
}

/// An event for some members of a topic.
#[derive(Clone, Debug, PartialEq)]
pub struct ToMembers {
    /// The topic.
    pub topic: Topic,
    /// Which members.
    pub selector: MemberSelector,
    /// The event.
    pub event: ByteString,
    /// Its payload.
    pub payload: Payload,
}

/// The answer of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeAnswer {
    /// A number of sockets or members.
    Count(u64),
    /// A queue has no room. Nothing was sent there.
    Busy,
    /// The number of a topic's members, and some of them.
    Members(u64, Vec<Person>),
    /// A text in JSON.
    Json(Bytes),
    /// It can't be answered: the node doesn't know such questions, or has too many of them.
    Refused,
}

impl ToMembers {
    /// An event for the selected members of a topic.
    #[must_use]
    pub fn of(topic: &str, selector: MemberSelector, event: impl Into<ByteString>, payload: Payload) -> Self {
        Self { topic: Topic::new(topic), selector, event: event.into(), payload }
    }
}

impl BroadcastMessage {
    /// A broadcast of this node.
    #[must_use]
    pub(super) fn of(broadcast: &Broadcast) -> Self {
        let Broadcast { topic, event, payload, except, droppable, number: _ } = broadcast;
        Self {
            topic: topic.clone(),
            event: event.clone(),
            payload: payload.clone(),
            except: match except {
                Except::Nobody => LeftOut::Nobody,
                Except::Member(member) => LeftOut::Member(*member),
                Except::Socket { id, .. } => LeftOut::Socket((**id).to_owned().into()),
            },
            droppable: droppable.as_ref().map(|droppable| droppable.name.clone()),
        }
    }
}
