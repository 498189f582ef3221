//! Channels: one callback at a time, and its outcome carried out.
//!
//! A [`Channel`] is one socket's membership of one topic. What is to happen to it waits in a line and is taken a turn
//! at a time, by at most one task: a turn is a call with its commit and its effects. An idle channel holds no task and no
//! plugin instance.

mod commit;
mod effects;
mod fault_log;
mod former;
mod guarded;
mod idle;
mod in_flight;
mod intercept;
mod invoke;
mod join;
mod mailbox;
mod member;
mod node;
mod persist;
mod published;
mod room;
mod saved;
mod seat_changes;
mod seats;
mod tick_timer;
mod timers;
mod topic_message;
mod topic_subscription;
mod topic_turn;
mod turn;
mod turn_queue;
mod turn_queues;

pub use mailbox::Inbound;
pub use member::{Channel, Connection, Full};
pub use node::{Node, NodeLimits};
pub use topic_message::{Delivered, Undelivered};
pub use turn::MemberEvent;
pub use turn_queue::Drain;
