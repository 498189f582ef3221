//! The log line of a fault: one line with everything that is known about it.

use crate::clients::Client;
use crate::contract::{Fault, Member, count_fault};
use crate::protocol::Topic;
use crate::routes::Route;

/// The callback that failed, with its arguments.
#[derive(Clone, Copy, Default)]
pub(in crate::channel) struct Failed<'a> {
    /// Its name; empty if the failure was outside a callback.
    pub(in crate::channel) callback: &'a str,
    /// The event that it handled.
    pub(in crate::channel) event: Option<&'a str>,
    /// The seat whose change it handled.
    pub(in crate::channel) seat: Option<&'a str>,
}

impl Failed<'_> {
    /// A callback that handles no event.
    pub(in crate::channel) fn in_callback(callback: &str) -> Failed<'_> {
        Failed { callback, ..Failed::default() }
    }
}

/// A fault, and where it happened.
pub(in crate::channel) struct FaultLine<'a> {
    /// The plugin, if it is still known.
    pub(in crate::channel) route: Option<&'a Route>,
    pub(in crate::channel) topic: &'a Topic,
    /// The member whose callback it was; none for a callback of the topic.
    pub(in crate::channel) member: Option<&'a Member>,
    pub(in crate::channel) failed: Failed<'a>,
    pub(in crate::channel) fault: &'a Fault,
    /// The generation that answered the same call, if a build on probation failed.
    pub(in crate::channel) answered_by: Option<u32>,
}

impl FaultLine<'_> {
    /// Counts the fault, and writes the line. Fields without a known value are left out.
    pub(in crate::channel) fn write(self) {
        let Self { route, topic, member, failed: Failed { callback, event, seat }, fault, answered_by } = self;
        if let Some(route) = route {
            count_fault(&route.plugin, fault);
        }
        let identity = member.map(|member| &member.socket.identity);
        let peer = member.and_then(|member| member.socket.client.as_ref()).map(Client::address);
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
            peer = peer.map(tracing::field::display),
            kind = fault.kind.as_str(),
            "fault{}: {}",
            answered.unwrap_or_default(),
            fault.detail
        );
    }
}
