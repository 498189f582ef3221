//! Channels: one callback at a time, and its outcome carried out.
//!
//! A [`Channel`] is one socket's membership in one topic. Its events wait in a queue, and at most one task takes them,
//! a turn at a time: a turn is a call with its commit and its effects. An idle channel holds no task and no plugin
//! instance.
//!
//! The files are in four parts. Each uses only the parts before it, so a message is followed in one direction:
//!
//! 1. `turn`: how one turn goes. Queue, plugin call, storage.
//! 2. `room`: a topic's own queue and its room.
//! 3. `member`: a member, its turns, and the effects of all turns.
//! 4. `topic_call`, `topic_info`, `topic_turn` and `node`: the turns of a topic itself, and the interface for the rest of the host.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod handover;
mod member;
mod node;
mod room;
mod topic_call;
mod topic_info;
mod topic_turn;
mod turn;

pub use crate::contract::limits::NodeLimits;
pub use crate::entries::RollbackState;
pub use handover::{Adopted, AdoptedTopic, Unread};
pub use member::{Channel, Connection, Drain, Full, Inbound, MemberEvent, MemberSelector};
pub use node::{LateAnswer, Node, NodeIdentity};
pub use room::Takeover;
pub use room::{Delivered, DueJob, IdempotentRequest, InfoOutcome, RoomSize, Undelivered};
