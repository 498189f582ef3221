//! How one turn goes: it waits in a queue, calls a plugin, and stores the outcome.
//!
//! Nothing here knows what a member or a topic's room is.

mod fault_log;
mod former;
mod gate;
mod invoke;
mod member_numbers;
mod persist;
mod queue;
mod saved;
mod services;

pub(super) use fault_log::{Failed, FaultLine};
pub(super) use former::Former;
pub(super) use gate::TurnGate;
pub(super) use invoke::{Evaluated, PluginCall, StateSnapshot, invoke, upgrade_state};
pub(super) use member_numbers::MemberNumbers;
pub(super) use persist::{Persisted, RetryDeadline, commit_draft, is_current, refused};
pub(super) use queue::{Drain, Job, TurnQueue};
pub(super) use saved::{Saved, Settled};
pub(super) use services::Services;
