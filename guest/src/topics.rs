//! Topics: which there are, and who is in them.
//!
//! A topic that none of this plugin's routes match must be granted in the host's configuration (`plugins.NAME.read`); asking
//! about another is a fault.

use crate::host::topics;

#[doc(inline)]
pub use crate::bindings::bennu::channel::topics::{Person, Topic};

/// How many members a topic has.
pub fn count(topic: &str) -> u32 {
    topics::count(topic)
}

/// Members of a topic, in no particular order: at most `limit`, and never more than 1,000.
pub fn members(topic: &str, limit: u32) -> Vec<Person> {
    topics::members(topic, limit)
}

/// The topics that begin with `prefix` and come after `after`, by their bytes: at most `limit`, and never more than 1,000.
///
/// ```
/// # use bennu_guest::prelude::*;
/// /// The rooms of a lobby, however many.
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
