//! The entries of topics: a table for each room, the writes of calls before their commit, and the memory of both.
//!
//! The rules and the table itself are in `bennu_semantics`. Here are the locks, and the sum over all rooms of the host.

mod call;
mod node;
mod topic;

pub use bennu_semantics::entries::Order;
pub use call::{CallEntries, PendingEntries};
pub use node::EntriesNode;
pub use topic::TopicEntries;
