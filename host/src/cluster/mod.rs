//! A host as a node of a cluster: what it tells the other hosts, and what it does with what they say.
//!
//! ```text
//! pubsub, presence, channel ──► Peers ──► ClusterLink ══════► the other hosts
//!             api, surroundings ──┘ ▲
//!                                   │
//! pubsub, presence, channel ◄── Receiver ◄── ClusterEvent ◄══ the other hosts
//! ```
//!
//! Each node has its own members, and sends their frames itself. A broadcast goes to all nodes, and each node delivers it to its
//! own members. Presences are a replicated set. Nothing that must be right depends on a message: what was lost is sent again, or
//! those whom it concerns are told ([`Rejoining`]).

mod affected;
mod announcer;
mod answering;
mod asking;
mod blocks;
mod codec;
mod counts;
mod decoding;
mod encoding;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod kind;
mod link;
mod messages;
mod peers;
mod questions;
mod receiver;
mod rejoining;
mod remote_counts;
mod run;
mod split_topics;
#[cfg(test)]
mod tests;

pub use announcer::{ANNOUNCE_EVERY, Announcer};
pub use answering::Inspect;
pub use asking::{Acted, Coverage, MembersElsewhere};
pub use blocks::{MemberBlocks, give_first_block, keep_giving_blocks};
pub use codec::VERSION;
pub use counts::PeerCounts;
pub use link::ClusterLink;
pub use messages::{NodeQuestion, ToMembers};
pub use peers::Peers;
pub use receiver::{EventOutcome, Receiver};
pub use rejoining::{OnLoss, Rejoining};
pub use run::{join_cluster, run};
