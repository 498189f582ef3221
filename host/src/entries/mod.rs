//! The entries of topics: a table for each room, the writes of calls before their commit, the entries before a rollback
//! point, and the memory of all.
//!
//! The rules and the table itself are in `bennu_semantics`. Here are the locks, the reads of the store for durable rooms, and
//! the sums over all rooms of the host.

mod access;
mod call;
mod commit;
mod durable;
mod evict;
mod journal_bytes;
mod near_limit;
mod node;
mod published;
mod rollback;
mod takeover;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod topic;
mod upgrade;

pub use bennu_semantics::entries::{Followed, Order, PublishedChange, Publishing, StaleEntry};
pub use call::{AppliedEntries, CallEntries, EntryInput, PendingEntries};
pub use commit::EntryCommit;
pub use node::{CacheLimits, EntriesNode, EntryUsage, KeptBytes};
pub use rollback::{RollbackGivenUp, RollbackState};
pub use topic::{EntriesSize, TopicEntries};
pub use upgrade::StaleEntries;
