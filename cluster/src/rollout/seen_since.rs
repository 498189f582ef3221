//! Since when this node has seen something in the records and the reports.

use std::collections::BTreeMap;
use std::time::Duration;

use super::decision::probation_counts;
use super::record::{PluginRecord, Records};
use super::report::NodeReport;

/// Something about a plugin that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SeenFact {
    /// A rollout is being prepared, with this number.
    Rollout(u32),
    /// This generation serves.
    Serving(u32),
    /// This generation serves, and has more faults than its probation tolerates.
    Failing(u32),
}

/// Since when this node has seen what the records and the reports say now, by its own clock. A time is any duration since a fixed moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SeenSince {
    since: BTreeMap<(String, SeenFact), Duration>,
}

impl SeenSince {
    /// Notes what the records, and the reports that were read with them, say at a time.
    pub fn note(&mut self, records: &Records, reports: &[NodeReport], now: Duration) {
        let seen = records.iter().flat_map(|(name, record)| {
            let rollout = record.rollout.as_ref().map(|rollout| SeenFact::Rollout(rollout.number));
            let serving = record.generation().map(SeenFact::Serving);
            rollout.into_iter().chain(serving).chain(failing(name, record, reports)).map(|fact| (name.clone(), fact))
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

fn failing(name: &str, record: &PluginRecord, reports: &[NodeReport]) -> Option<SeenFact> {
    let (generation, probation) = (record.generation()?, record.probation()?);
    let (_, faults) = probation_counts(name, generation, reports);
    (faults > probation.terms.faults).then_some(SeenFact::Failing(generation))
}
