//! The log line of a fault: one line with everything that is known about it.

use crate::clients::Client;
use crate::contract::{FAULT_LINES, Fault, Member, RecentFault, count_fault, keep_fault};
use crate::counts::Limit;
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
    /// Counts the fault, keeps it for operators, and writes the line, up to a rate.
    pub(in crate::channel) fn write(self) {
        let plugin = self.route.map(|route| &*route.plugin).unwrap_or_default();
        count_fault(plugin, self.fault);
        keep_fault(self.recent());
        let reported = plugin.to_owned();
        let report = move |left_out| tracing::warn!(plugin = reported, left_out, "further faults of the plugin");
        if !FAULT_LINES.limit(plugin, || self.write_line(), report) {
            Limit::LogLinesOfFaults.hit();
        }
    }

    fn recent(&self) -> RecentFault {
        let Self { route, topic, member, failed: Failed { callback, event, seat }, fault, answered_by } = *self;
        let identity = member.map(|member| &member.socket.identity);
        let peer = member.and_then(|member| member.socket.client.as_ref()).map(Client::address);
        RecentFault {
            plugin: route.map(|route| route.plugin.to_string()).unwrap_or_default(),
            generation: route.map_or(0, |route| route.generation),
            callback: callback.to_owned(),
            event: event.map(str::to_owned),
            seat: seat.map(str::to_owned),
            kind: fault.kind.as_str(),
            message: fault.detail.clone(),
            topic: topic.as_str().to_owned(),
            user: identity.and_then(|identity| identity.user.as_deref()).map(str::to_owned),
            socket: identity.and_then(|identity| identity.socket_id.as_deref()).map(str::to_owned),
            member: member.map(|member| member.id),
            peer: peer.map(|peer| peer.to_string()),
            answered_by,
            ..RecentFault::default()
        }
    }

    /// Writes the line. Fields without a known value are left out.
    fn write_line(&self) {
        let Self { route, topic, member, failed: Failed { callback, event, seat }, fault, answered_by } = *self;
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
            trace_id = member.and_then(|member| member.socket.trace.as_deref()).map(tracing::field::display),
            peer = peer.map(tracing::field::display),
            kind = fault.kind.as_str(),
            "fault{}: {}",
            answered.unwrap_or_default(),
            fault.detail
        );
    }
}
