//! The lines that a guest logs, up to a rate.

use std::sync::Arc;

use super::bindings::bennu::channel::host::Level;
use super::guest::{Guest, Subject};
use crate::contract::Trace;
use crate::counts::{Limit, LineRate};

/// The lines that plugins log, by plugin. In addition each call has a limit.
static GUEST_LINES: LineRate = LineRate::new(1_000);

impl Guest {
    /// Writes a line to the log.
    pub(super) fn write_log(&self, level: Level, line: &str) {
        // Lines that the filter leaves out don't count.
        if !is_enabled(level) {
            return;
        }
        let (plugin, generation) = (&*self.context.origin.name, self.context.origin.generation);
        let topic = self.topic.as_ref().map_or("", |topic| topic.as_str());
        let trace_id = self.trace().map(tracing::field::display);
        let write = || match level {
            Level::Trace => tracing::trace!(target: "guest", plugin, generation, topic, trace_id, "{line}"),
            Level::Debug => tracing::debug!(target: "guest", plugin, generation, topic, trace_id, "{line}"),
            Level::Info => tracing::info!(target: "guest", plugin, generation, topic, trace_id, "{line}"),
            Level::Warn => tracing::warn!(target: "guest", plugin, generation, topic, trace_id, "{line}"),
            Level::Error => tracing::error!(target: "guest", plugin, generation, topic, trace_id, "{line}"),
        };
        let reported = Arc::clone(&self.context.origin.name);
        let report = move |left_out| tracing::warn!(plugin = &*reported, left_out, "further lines of the plugin");
        if !GUEST_LINES.limit(plugin, write, report) {
            Limit::LogLinesOfPlugins.hit();
        }
    }

    /// The trace of the client whose member's callback runs.
    pub(super) fn trace(&self) -> Option<Trace> {
        match &self.subject {
            Subject::Member(member) => member.socket.trace.as_deref().copied(),
            Subject::Nobody | Subject::Request(_) | Subject::Message(_) | Subject::Fired(_) => None,
        }
    }
}

/// Whether lines of plugins at this level are logged.
fn is_enabled(level: Level) -> bool {
    match level {
        Level::Trace => tracing::enabled!(target: "guest", tracing::Level::TRACE),
        Level::Debug => tracing::enabled!(target: "guest", tracing::Level::DEBUG),
        Level::Info => tracing::enabled!(target: "guest", tracing::Level::INFO),
        Level::Warn => tracing::enabled!(target: "guest", tracing::Level::WARN),
        Level::Error => tracing::enabled!(target: "guest", tracing::Level::ERROR),
    }
}
