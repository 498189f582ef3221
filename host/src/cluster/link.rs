//! What the host uses of a cluster.

use std::sync::Arc;

use bennu_cluster::{Cluster, ClusterCounts, Epoch, Lane, LeaseStatus, NodeStatus, SendError};
use bytes::Bytes;

/// The way of messages to the other nodes, and what is known of these. In a host it is a [`Cluster`]. Tests have one that they
/// control.
pub trait ClusterLink: Send + Sync {
    /// This start of the node.
    fn me(&self) -> Epoch;

    /// The name of this node.
    fn name(&self) -> &str;

    /// Sends a message to all other nodes, or to one. It never waits.
    ///
    /// # Errors
    /// If it can't be sent. Then nobody gets it.
    fn send(&self, lane: Lane, message: Bytes) -> Result<(), SendError>;

    /// All living nodes, this one among them, and those that died lately.
    fn nodes(&self) -> Arc<[NodeStatus]>;

    /// The lease of this node at this moment.
    fn lease(&self) -> LeaseStatus;

    /// Counts since the start.
    fn counts(&self) -> ClusterCounts;
}

impl ClusterLink for Cluster {
    fn me(&self) -> Epoch {
        Self::me(self).epoch
    }

    fn name(&self) -> &str {
        Self::name(self)
    }

    fn send(&self, lane: Lane, message: Bytes) -> Result<(), SendError> {
        Self::send(self, lane, message)
    }

    fn nodes(&self) -> Arc<[NodeStatus]> {
        Self::nodes(self)
    }

    fn lease(&self) -> LeaseStatus {
        Self::lease(self)
    }

    fn counts(&self) -> ClusterCounts {
        Self::counts(self)
    }
}
