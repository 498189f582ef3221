//! What a node shows of the cluster.

use std::time::Duration;

use crate::bus::BusCounts;
use crate::table::NodeRow;

/// A node as this node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// Its row of the table, as it was read last.
    pub row: NodeRow,
    /// Whether it is up.
    pub presence: NodePresence,
    /// The time since it was heard last. None if it never was.
    pub heard_ago: Option<Duration>,
    /// For how long this node has seen the same beat in its row. After a whole lease, it counts as dead. None if it is dead. After an
    /// outage of the table, the time begins anew.
    pub beat_ago: Option<Duration>,
    /// How many of its flushes are known to be sent, and weren't received yet.
    pub behind: u64,
    /// How many gaps there were in its flushes.
    pub gaps: u64,
    /// How many gaps couldn't be filled.
    pub losses: u64,
}

/// The lease of this node at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseStatus {
    /// Whether it is good. If not, the other nodes may count this one as dead soon, or do already.
    pub is_good: bool,
    /// After which time without a renewal they may.
    pub length: Duration,
    /// The time since the last renewal that succeeded was sent. None once this start of the node is over.
    pub renewed_ago: Option<Duration>,
    /// Why the last renewal failed. None if it succeeded.
    pub failure: Option<String>,
}

/// Whether a node is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodePresence {
    /// This node itself.
    Own,
    /// Alive in the table, and not heard yet.
    Unheard,
    /// Alive in the table, and heard.
    Up,
    /// Alive in the table, and not heard for some seconds.
    Silent,
    /// Left or declared dead.
    Dead,
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterCounts {
    /// Of what was sent.
    pub sent: SentCounts,
    /// Of what was heard.
    pub heard: HeardCounts,
    /// Of flushes that were dropped.
    pub dropped: DroppedCounts,
    /// Of the lease and the table.
    pub table: TableCounts,
    /// Of the bus itself.
    pub bus: BusCounts,
}

/// Counts of what was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SentCounts {
    /// Flushes with messages, each counted once.
    pub flushes: u64,
    /// Messages in them.
    pub messages: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Messages that were refused because the queue was full.
    pub full: u64,
    /// Requests to send again.
    pub nacks: u64,
    /// Flushes that were sent again because somebody asked.
    pub repeats: u64,
    /// Flushes that the bus has refused twice, so that nobody gets them.
    pub refused: u64,
    /// Tries of the bus that failed.
    pub failures: u64,
}

/// Counts of what was heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeardCounts {
    /// Flushes with messages.
    pub flushes: u64,
    /// Messages in them.
    pub messages: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Requests to send again.
    pub nacks: u64,
    /// Flushes that were sent again.
    pub repeats: u64,
    /// Gaps in the numbers of a node.
    pub gaps: u64,
    /// Gaps that couldn't be filled.
    pub losses: u64,
    /// How often the connection of the bus was lost.
    pub downs: u64,
}

/// Counts of dropped flushes, by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DroppedCounts {
    /// It can't be read.
    pub malformed: u64,
    /// Its version of the protocol isn't understood.
    pub version: u64,
    /// Its trailer wasn't made with this cluster's secret.
    pub forged: u64,
    /// The table doesn't have its sender, as far as this node has read.
    pub unknown: u64,
    /// Its sender is dead.
    pub dead: u64,
    /// Its sender has the epoch of a known node, but another incarnation.
    pub incarnation: u64,
    /// It was received before.
    pub duplicate: u64,
}

/// Counts of the lease and the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableCounts {
    /// Renewals of the lease.
    pub renewals: u64,
    /// Renewals that failed.
    pub misses: u64,
    /// How often the lease ran out.
    pub suspensions: u64,
    /// Polls of the table.
    pub polls: u64,
    /// Polls that failed.
    pub poll_failures: u64,
    /// Nodes that this node has declared dead.
    pub declared_dead: u64,
    /// Rows of the table that this node can't read. One counts at each read.
    pub rows_unreadable: u64,
}
