//! How much is on its way to the topics of each plugin: a topic's line is bounded, but of topics there are as many as a plugin
//! makes up, each with a turn that may wait for an instance.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;

/// Letters at most that all topics of a plugin haven't answered.
const MESSAGES_MAX: usize = 16_384;

/// Their bytes at most.
const BYTES_MAX: usize = 64 << 20;

/// The loads of all plugins, by their names.
#[derive(Default)]
pub(super) struct InFlightByPlugin {
    plugins: DashMap<Arc<str>, Arc<InFlightBytes>>,
}

/// What is on its way to the topics of one plugin.
#[derive(Default)]
pub(super) struct InFlightBytes {
    messages: AtomicUsize,
    bytes: AtomicUsize,
}

/// A letter's part of a load, until it is dropped.
pub(super) struct InFlight {
    total: Arc<InFlightBytes>,
    bytes: usize,
}

impl InFlightByPlugin {
    /// The load of a plugin.
    pub(super) fn of(&self, plugin: &Arc<str>) -> Arc<InFlightBytes> {
        let known = self.plugins.get(plugin).map(|load| Arc::clone(&load));
        known.unwrap_or_else(|| Arc::clone(&self.plugins.entry(Arc::clone(plugin)).or_default()))
    }
}

impl InFlightBytes {
    /// Whether so many letters more may come, which have so many bytes together.
    pub(super) fn has_room(&self, messages: usize, bytes: usize) -> bool {
        let (waiting, held) = (self.messages.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        waiting.saturating_add(messages) <= MESSAGES_MAX && held.saturating_add(bytes) <= BYTES_MAX
    }

    /// Adds a letter, if there is room for it.
    pub(super) fn add(self: &Arc<Self>, bytes: usize) -> Option<InFlight> {
        // Those who add at once may go a little past it: what counts is that there is an end.
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
    fn a_plugin_has_so_many_letters_and_bytes_and_another_has_its_own() {
        let loads = InFlightByPlugin::default();
        let (one, other) = (loads.of(&"one".into()), loads.of(&"other".into()));
        let mut messages: Vec<_> = (0..MESSAGES_MAX).map(|_| one.add(1)).collect();
        assert!(messages.iter().all(Option::is_some));
        assert!(loads.of(&"one".into()).add(1).is_none() && other.add(1).is_some());
        messages.pop();
        assert!(one.has_room(1, BYTES_MAX - MESSAGES_MAX + 1) && !one.has_room(1, BYTES_MAX - MESSAGES_MAX + 2));
        assert!(!one.has_room(2, 0));
        drop(messages);
        assert!(one.has_room(MESSAGES_MAX, BYTES_MAX), "it is given back");
    }
}
