//! Since when this node has seen something in the records.

use std::collections::BTreeMap;
use std::time::Duration;

use super::record::Records;

/// Something in a record that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sight {
    /// A rollout is being prepared, with this number.
    Rollout(u32),
    /// This generation serves.
    Serving(u32),
}

/// Since when this node has seen what the records say now, by its own clock. A time is any duration since a fixed moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sights {
    since: BTreeMap<(String, Sight), Duration>,
}

impl Sights {
    /// Notes what the records say at a time.
    pub fn note(&mut self, records: &Records, now: Duration) {
        let seen = records.iter().flat_map(|(name, record)| {
            let rollout = record.rollout.as_ref().map(|rollout| Sight::Rollout(rollout.number));
            let serving = record.generation().map(Sight::Serving);
            rollout.into_iter().chain(serving).map(|sight| (name.clone(), sight))
        });
        let mut before = std::mem::take(&mut self.since);
        self.since = seen.map(|sight| before.remove_entry(&sight).unwrap_or((sight, now))).collect();
    }

    /// For how long it was seen without a break.
    #[must_use]
    pub fn lasts(&self, plugin: &str, sight: Sight, now: Duration) -> Duration {
        let since = self.since.get(&(plugin.to_owned(), sight));
        since.map_or(Duration::ZERO, |since| now.saturating_sub(*since))
    }
}
