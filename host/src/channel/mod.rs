//! Channels: one callback at a time, and its outcome carried out.
//!
//! A [`Channel`] is one socket's membership of one topic. What is to happen to it waits in a line and is taken a turn
//! at a time, by at most one task: a turn is a call with its commit and its effects. An idle channel holds no task and no
//! plugin instance.

mod beat;
mod commit;
mod consult;
mod ear;
mod effects;
mod fault_log;
mod former;
mod idle;
mod intercept;
mod join;
mod keep;
mod letter;
mod line;
mod lines;
mod load;
mod mailbox;
mod membership;
mod node;
mod published;
mod room;
mod saved;
mod seats;
mod timers;
mod topic_turn;
mod turn;
mod turning;
mod untold;

pub use letter::{Delivered, Undelivered};
pub use line::Drain;
pub use mailbox::Inbound;
pub use membership::{Channel, Connection, Full};
pub use node::{Node, NodeLimits};
pub use turn::Entry;
