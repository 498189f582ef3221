//! A node of a cluster, as its host uses it.

mod event;
mod options;
mod status;

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

pub use event::{ClusterEvent, SendError, StartError};
pub use options::{ClusterLimits, ClusterOptions, LEASE_MIN, Secret};
pub use status::{ClusterCounts, DroppedCounts, HeardCounts, NodePresence, NodeStatus, SentCounts, TableCounts};

use crate::bus::{BusReceiver, BusSender, Lane};
use crate::node::NodeId;
use crate::table::{NodeTable, TableError};

/// A node of a cluster. A clone is the same node.
#[derive(Clone)]
pub struct Cluster {
    node: Arc<NodeShared>,
}

struct NodeShared;

/// The events of a node, in a queue of [`ClusterLimits::events`].
///
/// If the host doesn't take them, the bus isn't read while the queue is full. Then the others' flushes wait in the service of the bus, or
/// are lost there and are repeated or told as [`ClusterEvent::Lost`] later. The lease is renewed nevertheless, and no node is called
/// silent meanwhile, because this node's own heartbeats don't come back to it either.
pub struct ClusterEvents {
    events: mpsc::Receiver<ClusterEvent>,
}

impl ClusterEvents {
    /// Waits for the next event. Returns nothing once the node has left, or is fenced and the host has taken everything.
    /// It may be dropped while it waits: nothing is lost by that.
    pub async fn next(&mut self) -> Option<ClusterEvent> {
        self.events.recv().await
    }
}

impl Cluster {
    /// Adds this node to the table, and starts its tasks and the thread that renews its lease.
    ///
    /// If a living row has its name, it waits until it has seen that row's beat unchanged for a lease, and buries it.
    ///
    /// # Errors
    ///
    /// If another node of that name renews its lease, if a living node understands no common version, or if the table doesn't answer.
    pub async fn start(
        options: ClusterOptions,
        table: Arc<dyn NodeTable>,
        bus: (Box<dyn BusSender>, Box<dyn BusReceiver>),
    ) -> Result<(Self, ClusterEvents), StartError> {
        todo!()
    }

    /// This start of the node.
    #[must_use]
    pub fn me(&self) -> NodeId {
        todo!()
    }

    /// The name of this node.
    #[must_use]
    pub fn name(&self) -> &str {
        todo!()
    }

    /// Sends a message to all other nodes, or to one. It never waits.
    ///
    /// # Errors
    ///
    /// If the queue is full, the message is too large, the node isn't alive, or this node is fenced. Then nobody gets the message.
    pub fn send(&self, lane: Lane, message: Bytes) -> Result<(), SendError> {
        todo!()
    }

    /// Whether the lease is good at this moment. It costs an atomic load and a reading of the clock.
    #[must_use]
    pub fn is_good(&self) -> bool {
        todo!()
    }

    /// All living nodes, this one among them, and those that died lately, ordered by epoch.
    #[must_use]
    pub fn nodes(&self) -> Arc<[NodeStatus]> {
        todo!()
    }

    /// Counts since the start.
    #[must_use]
    pub fn counts(&self) -> ClusterCounts {
        todo!()
    }

    /// Says in the table that this node takes no new clients.
    ///
    /// # Errors
    ///
    /// If the table doesn't answer.
    pub async fn drain(&self) -> Result<(), TableError> {
        todo!()
    }

    /// Sends what waits, sets this node's row dead so that its name is free, and ends the tasks and the thread. Events end, too.
    ///
    /// # Errors
    ///
    /// If the table doesn't answer. The tasks end nevertheless, and the others bury this node after its lease.
    pub async fn leave(self) -> Result<(), TableError> {
        todo!()
    }
}
