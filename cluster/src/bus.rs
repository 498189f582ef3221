//! The way of bytes from a node to the others.
//!
//! An implementation may lose what it was given, but never changes the order of what one node sent, and never delivers twice. More isn't
//! asked of it, so that several services can be a bus: the link numbers and repeats.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use crate::node::Epoch;

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
    /// The table of nodes has changed. This is a hint: whoever hears it looks at the table.
    Look,
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
        }
    }
}

impl std::error::Error for BusError {}
