//! The log's line of a fault: one, with all that is known of it.

use crate::contract::{Fault, Member};
use crate::protocol::Topic;
use crate::routes::Route;

/// Which callback failed, with what it was given.
#[derive(Clone, Copy, Default)]
pub(super) struct Failed<'a> {
    /// Its name; empty where something failed outside of one.
    pub(super) callback: &'a str,
    /// The event that it handled.
    pub(super) event: Option<&'a str>,
    /// The seat that it was about.
    pub(super) seat: Option<&'a str>,
}

impl Failed<'_> {
    /// A callback that handles no event.
    pub(super) fn in_callback(callback: &str) -> Failed<'_> {
        Failed { callback, ..Failed::default() }
    }
}

/// A fault with where it happened.
pub(super) struct FaultLine<'a> {
    /// The plugin, if it is still known.
    pub(super) route: Option<&'a Route>,
    pub(super) topic: &'a Topic,
    /// Whose callback it was, unless it was the topic's own.
    pub(super) member: Option<&'a Member>,
    pub(super) failed: Failed<'a>,
    pub(super) fault: &'a Fault,
    /// The generation that has answered the same call, where a build on probation failed.
    pub(super) answered_by: Option<u32>,
}

impl FaultLine<'_> {
    /// Writes it. Fields that nothing is known of are left out.
    pub(super) fn write(self) {
        let Self { route, topic, member, failed: Failed { callback, event, seat }, fault, answered_by } = self;
        let identity = member.map(|member| &member.socket.identity);
        let answered = answered_by.map(|generation| format!(", answered by generation {generation}"));
        tracing::warn!(
            plugin = route.map_or("", |route| &*route.plugin),
            generation = route.map_or(0, |route| route.generation),
            topic = topic.as_str(),
            callback,
            event,
            seat,
            user = identity.and_then(|identity| identity.user.as_deref()),
            socket = identity.and_then(|identity| identity.socket_id.as_deref()),
            member = member.map(|member| member.id),
            kind = fault.kind.as_str(),
            "fault{}: {}",
            answered.unwrap_or_default(),
            fault.detail
        );
    }
}
