//! The entries of topics: a table for each room, the writes of calls before their commit, and the memory of both.
//!
//! The rules and the table itself are in `bennu_semantics`. Here are the locks, the reads of the store for durable rooms, and
//! the sums over all rooms of the host.

mod access;
mod call;
mod commit;
mod durable;
mod evict;
mod node;
mod topic;

pub use bennu_semantics::entries::Order;
pub use call::{CallEntries, PendingEntries};
pub use commit::EntryCommit;
pub use node::{CacheLimits, EntriesNode, EntryUsage};
pub use topic::TopicEntries;
