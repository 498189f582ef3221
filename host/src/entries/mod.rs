//! The entries of topics: a table for each room, the writes of calls before their commit, and the memory of both.
//!
//! The rules and the table itself are in `bennu_semantics`. Here are the locks, and the sum over all rooms of the host.

mod call;
mod node;
mod published;
mod topic;

pub use bennu_semantics::entries::{Followed, Order, PublishedChange, Publishing};
pub use call::{CallEntries, PendingEntries};
pub use node::{EntriesNode, KeptBytes};
pub use topic::TopicEntries;
