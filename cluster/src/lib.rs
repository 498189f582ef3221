//! Several hosts as one: who is alive, and messages between them.
//!
//! ```text
//! host ──► Cluster ──► link (numbers, ring, repeats) ──► Bus ──► the links of the other hosts
//!                └──► lease, membership ──► NodeTable (PostgreSQL)
//! ```
//!
//! The [`NodeTable`] decides who is alive. The [`Bus`] only tells: a message that it loses is noticed by its number and repeated, or
//! the host is told that it can't be.

mod backoff;
pub mod bus;
mod causes;
pub mod cluster;
pub mod core;
mod inbox;
pub mod lease;
pub mod link;
pub mod membership;
pub mod moment;
mod names;
pub mod nats;
pub mod node;
mod pieces;
pub mod postgres;
pub mod rollout;
pub mod settings;
pub mod table;
mod tls;
pub mod wire;

pub use bus::memory::MemoryBus;
pub use bus::{Bus, BusCounts, BusEnds, BusError, BusEvent, BusReceiver, BusSender, Lane};
pub use causes::with_causes;
pub use cluster::{
    Cluster, ClusterCounts, ClusterEvent, ClusterEvents, ClusterLimits, ClusterOptions, LeaseStatus, NodePresence,
    NodeStatus, Secret, SendError, StartError,
};
pub use moment::Moment;
pub use names::named;
pub use node::{Epoch, Incarnation, NodeId, Speaks};
pub use settings::NodeSettings;
pub use table::memory::MemoryTable;
pub use table::{Hello, NewNode, NodeRow, NodeTable, Renewal, TableError};
pub use tls::client_tls;
