//! Topic messages in flight, counted for each plugin. The queue of one topic is bounded, but a plugin can make up any
//! number of topics, each with a turn that may wait for an instance.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;

use crate::contract::limits::{IN_FLIGHT_BYTES_MAX, IN_FLIGHT_MAX};

/// The messages in flight of all plugins, by their names.
#[derive(Default)]
pub(in crate::channel::room) struct InFlightByPlugin {
    plugins: DashMap<Arc<str>, Arc<InFlightBytes>>,
}

/// The messages in flight to the topics of one plugin.
#[derive(Default)]
pub(in crate::channel::room) struct InFlightBytes {
    messages: AtomicUsize,
    bytes: AtomicUsize,
}

/// A message in flight. It counts until this is dropped.
pub(in crate::channel) struct InFlight {
    total: Arc<InFlightBytes>,
    bytes: usize,
}

impl InFlightByPlugin {
    /// The counts of a plugin.
    pub(in crate::channel::room) fn of(&self, plugin: &Arc<str>) -> Arc<InFlightBytes> {
        let known = self.plugins.get(plugin).map(|counts| Arc::clone(&counts));
        known.unwrap_or_else(|| Arc::clone(&self.plugins.entry(Arc::clone(plugin)).or_default()))
    }
}

impl InFlightBytes {
    /// Whether `messages` further messages of `bytes` in total are within the limits.
    pub(in crate::channel::room) fn has_room(&self, messages: usize, bytes: usize) -> bool {
        let (waiting, held) = (self.messages.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        waiting.saturating_add(messages) <= IN_FLIGHT_MAX && held.saturating_add(bytes) <= IN_FLIGHT_BYTES_MAX
    }

    /// Counts a message, if it is within the limits.
    pub(in crate::channel::room) fn add(self: &Arc<Self>, bytes: usize) -> Option<InFlight> {
        // Relaxed, and not checked together with the addition: concurrent callers may exceed the limit a little. The
        // limit is there to bound the memory, not to be exact.
        if !self.has_room(1, bytes) {
            return None;
        }
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Some(InFlight { total: Arc::clone(self), bytes })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.total.messages.fetch_sub(1, Ordering::Relaxed);
        self.total.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_plugin_has_its_own_limits_of_messages_and_bytes() {
        let counts = InFlightByPlugin::default();
        let (one, other) = (counts.of(&"one".into()), counts.of(&"other".into()));
        let mut messages: Vec<_> = (0..IN_FLIGHT_MAX).map(|_| one.add(1)).collect();
        assert!(messages.iter().all(Option::is_some));
        assert!(counts.of(&"one".into()).add(1).is_none() && other.add(1).is_some());
        messages.pop();
        assert!(
            one.has_room(1, IN_FLIGHT_BYTES_MAX - IN_FLIGHT_MAX + 1)
                && !one.has_room(1, IN_FLIGHT_BYTES_MAX - IN_FLIGHT_MAX + 2)
        );
        assert!(!one.has_room(2, 0));
        drop(messages);
        assert!(one.has_room(IN_FLIGHT_MAX, IN_FLIGHT_BYTES_MAX), "a dropped message no longer counts");
    }
}
