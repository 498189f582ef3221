//! The number of requests at once: of each plugin, and of the host.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::failure::Failure;
use crate::limits::OutboundLimits;

/// The requests that are under way. A plugin without requests takes no place here.
#[derive(Default)]
pub(crate) struct AtOnce {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    all: usize,
    of_plugins: HashMap<Arc<str>, usize>,
    /// How many requests were refused because of all others.
    busy_host: u64,
    /// How many requests were refused because of others of the same plugin.
    busy_plugins: u64,
}

/// The place of one request.
pub(crate) struct Place {
    at_once: Arc<AtOnce>,
    plugin: Arc<str>,
}

impl AtOnce {
    pub(crate) fn enter(self: &Arc<Self>, plugin: &Arc<str>, limits: &OutboundLimits) -> Result<Place, Failure> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.all >= limits.at_once {
            counts.busy_host += 1;
            return Err(Failure::busy("too many requests of the host are under way"));
        }
        let of_plugin = counts.of_plugins.entry(Arc::clone(plugin)).or_default();
        if *of_plugin >= limits.at_once_per_plugin {
            counts.busy_plugins += 1;
            return Err(Failure::busy("too many requests of the plugin are under way"));
        }
        *of_plugin += 1;
        counts.all += 1;
        drop(counts);
        Ok(Place { at_once: Arc::clone(self), plugin: Arc::clone(plugin) })
    }

    pub(crate) fn len(&self) -> usize {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).all
    }

    /// How many requests were refused so far because of all others.
    pub(crate) fn busy_host(&self) -> u64 {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).busy_host
    }

    /// How many requests were refused so far because of others of the same plugin.
    pub(crate) fn busy_plugins(&self) -> u64 {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).busy_plugins
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.at_once.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        if let Some(of_plugin) = counts.of_plugins.get_mut(&self.plugin) {
            *of_plugin -= 1;
            if *of_plugin == 0 {
                counts.of_plugins.remove(&self.plugin);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn requests_at_once_are_limited_for_each_plugin_and_for_all() {
        let limits = OutboundLimits { at_once: 3, at_once_per_plugin: 2, ..OutboundLimits::default() };
        let (at_once, a, b) = (Arc::new(AtOnce::default()), Arc::from("a"), Arc::from("b"));
        let first = at_once.enter(&a, &limits).unwrap();
        let _second = at_once.enter(&a, &limits).unwrap();
        assert!(at_once.enter(&a, &limits).is_err());
        assert_eq!((at_once.busy_host(), at_once.busy_plugins()), (0, 1));
        let third = at_once.enter(&b, &limits).unwrap();
        assert!(at_once.enter(&b, &limits).is_err());
        assert_eq!((at_once.busy_host(), at_once.busy_plugins()), (1, 1));
        drop(third);
        assert!(!at_once.counts.lock().unwrap().of_plugins.contains_key("b"));
        drop(first);
        assert!(at_once.enter(&a, &limits).is_ok());
        assert_eq!(at_once.len(), 1);
    }
}
