//! Every limit of a call and of what may wait for it: its name, its default, and the key of the configuration that sets it.

mod call;
pub mod keys;
mod node;
mod pace;
mod store;

pub use call::{CallLimits, limit_key};
pub use node::{IN_FLIGHT_BYTES_MAX, IN_FLIGHT_MAX, NodeLimits};
pub use pace::Pace;
pub use store::{Oversize, QUOTA_BYTES, StoreLimits};

/// The most members or topics that one call of `topics.members` or `topics.under` lists.
pub const LISTED_MAX: u32 = 1000;
