//! What a node tells its host.

use std::fmt;

use bytes::Bytes;

use crate::bus::BusError;
use crate::node::Epoch;
use crate::table::{NodeRow, TableError};

/// Something that the host has to act on. Events come in the order in which they happened.
///
/// A node's events are: `Up`, then messages, `Silent`, `Heard` and `Lost`, then `Dead`. A node that was alive in the table and never heard
/// has only `Dead`. After `Dead` nothing more comes of that epoch. The one exception: a database that lost its last rows may give an epoch
/// again, and then `Up` of another incarnation follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterEvent {
    /// A message of another node. Messages of one node to one lane come in the order in which they were sent, each once. A message is a
    /// slice of its flush: whoever keeps a small one for long copies it.
    Message {
        /// Who sent it.
        from: Epoch,
        /// What the other host gave to [`Cluster::send`](crate::Cluster::send).
        message: Bytes,
    },
    /// A node is alive in the table, and was heard. What it sent to all before that isn't known here.
    Up(Epoch),
    /// A node wasn't heard for five seconds, while this node's own heartbeats came back. It may come back.
    Silent(Epoch),
    /// A silent node was heard again.
    Heard(Epoch),
    /// A node has left, or was declared dead. It never comes back.
    Dead(Epoch),
    /// Some messages of a node were missed and can't be repeated. What comes after this event was sent after them.
    Lost {
        /// Who sent them.
        from: Epoch,
    },
    /// The lease wasn't renewed in time. Nobody has taken anything over yet, but may.
    Suspended,
    /// The lease was renewed. Nobody has taken anything over.
    Resumed,
    /// This start of the node counts as dead. No more events follow.
    Fenced,
}

/// Why a message can't be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// As many bytes wait as may wait. It is counted. A later message may find room.
    Full,
    /// The message is larger than a message may be.
    TooLarge,
    /// The node isn't alive as far as this node knows, or is this node.
    NoSuchNode,
    /// This start of the node counts as dead, or has left.
    Fenced,
}

/// Why a node can't start.
#[derive(Debug)]
pub enum StartError {
    /// Another node of that name renews its lease.
    NameTaken(Box<NodeRow>),
    /// A living node understands no version that this one understands.
    NoCommonVersion(Box<NodeRow>),
    /// A living node has other settings than this one, and all nodes need the same.
    OtherSettings {
        /// The name of that node.
        node: String,
        /// A sentence about each setting.
        differences: Vec<String>,
    },
    /// The table of nodes didn't answer.
    Table(TableError),
    /// The bus can't be used.
    Bus(BusError),
    /// An option can't be used. The text says why.
    Option(String),
    /// The operating system refused a thread or randomness.
    System(std::io::Error),
}

impl fmt::Display for SendError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Full => "too many bytes wait to be sent to other nodes",
            Self::TooLarge => "the message is larger than a message between nodes may be",
            Self::NoSuchNode => "the node isn't alive",
            Self::Fenced => "this node counts as dead",
        })
    }
}

impl std::error::Error for SendError {}

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameTaken(row) => {
                write!(formatter, "another node named {} is running (epoch {})", row.name, row.id.epoch)
            }
            Self::NoCommonVersion(row) => write!(
                formatter,
                "the node {} runs {} and understands the versions {} to {} of the protocol, of which this node understands none",
                row.name, row.version, row.speaks.from, row.speaks.to
            ),
            Self::OtherSettings { node, differences } => write!(
                formatter,
                "the node {} has other settings: {}; all nodes need the same, so stop all of them to change one",
                node,
                differences.join(", and ")
            ),
            Self::Table(error) => error.fmt(formatter),
            Self::Bus(error) => error.fmt(formatter),
            Self::Option(why) => formatter.write_str(why),
            Self::System(error) => write!(formatter, "the operating system refused a thread or randomness: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<TableError> for StartError {
    fn from(error: TableError) -> Self {
        Self::Table(error)
    }
}
