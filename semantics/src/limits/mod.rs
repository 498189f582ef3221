//! The limits of calls, of entries, of the store, of queues and of presence diffs, with their defaults and configuration
//! keys.

mod call;
mod deliveries;
mod entries;
mod jobs;
pub mod keys;
mod node;
mod pace;
mod size;
mod store;

pub use call::{CallLimits, limit_key};
pub use deliveries::DeliveryLimits;
pub use entries::{ENTRIES_AT_ONCE_MAX, ENTRY_BYTES_AT_ONCE_MAX, ENTRY_KEY_BYTES_MAX, ENTRY_WEIGHT, EntryLimits};
pub use jobs::JobLimits;
pub use node::{IN_FLIGHT_BYTES_MAX, IN_FLIGHT_MAX, NodeLimits};
pub use pace::Pace;
pub use size::check_size;
pub use store::{Oversize, QUOTA_BYTES, StoreLimits};

/// The most members or topics that one call of `topics.members` or `topics.under` lists.
pub const LISTED_MAX: u32 = 1000;
