//! What a node of a cluster is started with.

use std::fmt;
use std::time::Duration;

use crate::node::{NodeId, Speaks};

/// What [`Cluster::start`](crate::Cluster::start) needs to know.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The name of this node. No other living node may have it.
    pub name: String,
    /// The version of bennu, which the others show.
    pub version: String,
    /// The versions of the protocol between nodes that this node understands.
    pub speaks: Speaks,
    /// How long others wait before they declare a node dead that doesn't renew. It must be the same on all nodes: one with a shorter lease
    /// would declare others dead too early. In whole milliseconds, at least [`LEASE_MIN`].
    pub lease: Duration,
    /// If there is one, each flush has a trailer that only nodes with the same secret can make.
    pub secret: Option<Secret>,
    /// An earlier start of this node that is certainly over, such as that of a process whose lock file is free. It is set dead at once,
    /// so that its name is free without a wait.
    pub over: Option<NodeId>,
    /// The bounds of queues.
    pub limits: ClusterLimits,
}

/// The shortest lease that can be kept: it is renewed five times in its length, and each renewal is a round trip.
pub const LEASE_MIN: Duration = Duration::from_millis(1_000);

/// The bounds of a node's queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterLimits {
    /// The most bytes of messages that wait to be sent. Past it, [`SendError::Full`](crate::SendError::Full).
    pub queue_bytes: usize,
    /// The most bytes of flushes that were sent and are kept to be sent again. Also the most bytes of each other node that wait behind a
    /// gap.
    pub ring_bytes: usize,
    /// How long a flush is kept to be sent again.
    pub ring_age: Duration,
    /// The most bytes of one message. At most [`wire::MESSAGE_BYTES_MAX`](crate::wire::MESSAGE_BYTES_MAX).
    pub message_bytes: usize,
    /// The most events that wait for the host. Past it, the bus isn't read.
    pub events: usize,
}

impl Default for ClusterLimits {
    fn default() -> Self {
        Self {
            queue_bytes: 16 << 20,
            ring_bytes: 16 << 20,
            ring_age: Duration::from_secs(10),
            message_bytes: 4 << 20,
            events: 1_024,
        }
    }
}

/// The secret of a cluster. It isn't shown by [`Debug`](fmt::Debug).
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// A secret of any length.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}
