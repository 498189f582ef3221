//! Since when this node has seen something in the records.

use std::collections::BTreeMap;
use std::time::Duration;

use super::record::Records;

/// Something in a record that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SeenFact {
    /// A rollout is being prepared, with this number.
    Rollout(u32),
    /// This generation serves.
    Serving(u32),
}

/// Since when this node has seen what the records say now, by its own clock. A time is any duration since a fixed moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SeenSince {
    since: BTreeMap<(String, SeenFact), Duration>,
}

impl SeenSince {
    /// Notes what the records say at a time.
    pub fn note(&mut self, records: &Records, now: Duration) {
        let seen = records.iter().flat_map(|(name, record)| {
            let rollout = record.rollout.as_ref().map(|rollout| SeenFact::Rollout(rollout.number));
            let serving = record.generation().map(SeenFact::Serving);
            rollout.into_iter().chain(serving).map(|fact| (name.clone(), fact))
        });
        let mut before = std::mem::take(&mut self.since);
        self.since = seen.map(|fact| before.remove_entry(&fact).unwrap_or((fact, now))).collect();
    }

    /// For how long it was seen without a break.
    #[must_use]
    pub fn lasts(&self, plugin: &str, fact: SeenFact, now: Duration) -> Duration {
        let since = self.since.get(&(plugin.to_owned(), fact));
        since.map_or(Duration::ZERO, |since| now.saturating_sub(*since))
    }
}
