//! The way of this node's writes to the other nodes.

use super::Delta;

/// Gets the writes of this node, and sends them to the other nodes.
pub trait DeltaReceiver: Send + Sync {
    /// Takes a write. It is called under the lock of a shard, in the order of the writes, so it must not wait, and must not call
    /// a [`Presence`](super::Presence).
    fn receive(&self, delta: &Delta);
}
