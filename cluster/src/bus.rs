//! The way of bytes from a node to the others.
//!
//! An implementation may lose what it was given, but never changes the order of what one node sent, and never delivers twice. More isn't
//! asked of it, so that several services can be a bus: the link numbers and repeats.

mod counts;
pub mod memory;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

pub(crate) use counts::BusCounters;
pub use counts::BusCounts;

use crate::node::{Epoch, NodeId};

/// A future that a bus returns.
pub type BusFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who gets a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// All nodes, the sender among them.
    All,
    /// One node.
    Node(Epoch),
}

/// What comes from a bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusEvent {
    /// One flush of a node, as it was sent.
    Flush(Bytes),
    /// The connection is lost. Flushes of the others may be missed from here on.
    Down,
    /// The connection is there again, and everything that is sent from now on is heard.
    Up,
    /// A row of the table of nodes has changed, so it should be read now and not at the next poll. Only a hint: not every bus has it.
    NodesChanged,
}

/// Why a flush wasn't sent. Whether others have heard it isn't known, unless the kind says so.
#[derive(Debug)]
pub enum BusError {
    /// There is no connection, or it was lost while the flush was sent.
    Down(String),
    /// This node counts as dead. Nobody has heard the flush.
    Fenced,
    /// The service refused the flush. Nobody has heard it.
    Refused(String),
    /// The service can't be used as it is. The text says what to do. Only [`Bus::open`] returns it.
    Unfit(String),
}

/// Both ends of a bus for one start of a node.
pub type BusEnds = (Box<dyn BusSender>, Box<dyn BusReceiver>);

/// A service that can be a bus.
pub trait Bus: Send + Sync + 'static {
    /// Connects for a node that has its row in the table. Everything that is sent after the return is heard. A node that was fenced opens
    /// the bus again with its next row, and drops the ends that it had.
    ///
    /// # Errors
    /// If the service can't be reached, or can't be used as it is.
    fn open(&self, me: NodeId) -> BusFuture<'_, Result<BusEnds, BusError>>;

    /// The counts since it was made.
    fn counts(&self) -> BusCounts;

    /// The name of the service, the same at all nodes that can hear each other by it.
    fn name(&self) -> &'static str;
}

/// Sends flushes.
pub trait BusSender: Send + 'static {
    /// Sends one flush. Returns when the service has taken it. The next flush is sent after that.
    fn send(&mut self, lane: Lane, flush: Bytes) -> BusFuture<'_, Result<(), BusError>>;

    /// The most bytes of a flush that this bus sends well at once. A flush may be larger if one message is.
    fn flush_bytes(&self) -> usize;

    /// The least time between two flushes under load.
    fn pause(&self) -> std::time::Duration;
}

/// Hears the flushes of all nodes, this one's own among them.
pub trait BusReceiver: Send + 'static {
    /// Waits for the next event. It connects again by itself. It may be dropped while it waits: nothing is lost by that.
    fn next(&mut self) -> BusFuture<'_, BusEvent>;
}

impl fmt::Display for BusError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down(why) => write!(formatter, "the bus can't be reached: {why}"),
            Self::Fenced => formatter.write_str("this node counts as dead"),
            Self::Refused(why) => write!(formatter, "the bus refused a flush: {why}"),
            Self::Unfit(why) => formatter.write_str(why),
        }
    }
}

impl std::error::Error for BusError {}
