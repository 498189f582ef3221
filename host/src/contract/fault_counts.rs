//! Counts of faults, by plugin and kind. Each fault that is logged counts once.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Fault, FaultKind};
use crate::counts::Limit;

/// The faults of one plugin since the start, in the order of [`FaultKind::ALL`].
pub type FaultCounts = [u64; FaultKind::ALL.len()];

/// Faults are rare, so a lock is enough. It is held only to change or copy the map, which has one entry for each plugin.
static FAULTS: Mutex<BTreeMap<Box<str>, FaultCounts>> = Mutex::new(BTreeMap::new());

/// Counts a fault of a plugin, and the limits that it names.
pub fn count_fault(plugin: &str, fault: &Fault) {
    if !matches!(fault.kind, FaultKind::Trap | FaultKind::Failed) {
        Limit::hit_named(&fault.detail);
    }
    let mut faults = faults();
    let counts = match faults.get_mut(plugin) {
        Some(counts) => counts,
        None => faults.entry(plugin.into()).or_default(),
    };
    if let Some(place) = FaultKind::ALL.iter().position(|kind| *kind == fault.kind) {
        counts[place] += 1;
    }
}

/// Returns the faults of all plugins that have had some.
#[must_use]
pub fn fault_counts() -> BTreeMap<Box<str>, FaultCounts> {
    faults().clone()
}

/// No panic can leave the data half changed, so a poisoned lock is used like any other.
fn faults() -> MutexGuard<'static, BTreeMap<Box<str>, FaultCounts>> {
    FAULTS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_counted_by_plugin_and_kind() {
        let name = "a plugin that no other test has";
        count_fault(name, &Fault::failed("no"));
        count_fault(name, &Fault::failed("no"));
        count_fault(name, &Fault::overflow());
        assert_eq!(fault_counts().get(name), Some(&[0, 0, 0, 0, 1, 0, 2]));
    }
}
