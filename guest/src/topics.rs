//! The list of topics and of their members.
//!
//! A topic must match one of this plugin's routes, or be granted in the host's configuration (`plugins.NAME.read`). Any
//! other topic is a fault `failed`.

use crate::host::topics;

#[doc(inline)]
pub use crate::bindings::bennu::channel::topics::{Person, Topic};

/// Returns the number of a topic's members. In a cluster, members at other nodes count as they were about a second before. So
/// if `join` compares the number with a limit, a topic can get more members than that.
pub fn count(topic: &str) -> u32 {
    topics::count(topic)
}

/// Returns up to `limit` members of a topic, at most 1,000, in no particular order. In a cluster, the call may wait up to
/// 250 ms for other nodes, and the members at a node that hasn't answered then are missing.
pub fn members(topic: &str, limit: u32) -> Vec<Person> {
    topics::members(topic, limit)
}

/// Returns the topics that begin with `prefix`, in the order of their bytes: up to `limit` of them, at most 1,000. With
/// `after`, the list begins after that topic. Only topics with members are listed. The plugin needs a route or a grant
/// for all topics with that prefix, such as `room:*` for the prefix `room:`. In a cluster, members at other nodes count as
/// for [`count`].
///
/// ```
/// # use bennu_guest::prelude::*;
/// /// Returns all topics of the route `room:*`.
/// fn rooms() -> Vec<topics::Topic> {
///     let mut rooms = topics::under("room:", None, 1000);
///     while let Some(last) = rooms.last().map(|last| last.name.clone()) {
///         let more = topics::under("room:", Some(&last), 1000);
///         if more.is_empty() {
///             break;
///         }
///         rooms.extend(more);
///     }
///     rooms
/// }
/// ```
pub fn under(prefix: &str, after: Option<&str>, limit: u32) -> Vec<Topic> {
    topics::under(prefix, after, limit)
}
