//! The schedules of a world, and the schedules that one callback writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bennu_semantics::jobs::{Agenda, JobId, JobKind, JobRow, JobTally};
use bennu_semantics::limits::JobLimits;
use bennu_semantics::{Fault, Topic};

/// A schedule's topic and key.
type Name = (Topic, Box<str>);

/// All schedules.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schedules(Arc<BTreeMap<Name, JobRow>>);

/// The schedules that a callback has written. `None` for one that it cancels.
#[derive(Clone, Debug, Default)]
pub(crate) struct ScheduleWrites(BTreeMap<Name, Option<JobRow>>);

impl Schedules {
    /// A schedule.
    pub(crate) fn get(&self, topic: &Topic, key: &str) -> Option<&JobRow> {
        self.0.get(&(topic.clone(), key.into()))
    }

    /// Replaces a schedule, or removes it.
    pub(crate) fn set(&mut self, topic: Topic, key: Box<str>, row: Option<JobRow>) {
        self.apply(ScheduleWrites(BTreeMap::from([((topic, key), row)])));
    }

    /// All schedules, by topic and key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Topic, &str, &JobRow)> {
        self.0.iter().map(|((topic, key), row)| (topic, &**key, row))
    }

    /// Commits the writes of a callback.
    pub(crate) fn apply(&mut self, ScheduleWrites(writes): ScheduleWrites) {
        if writes.is_empty() {
            return;
        }
        let all = Arc::make_mut(&mut self.0);
        for (name, row) in writes {
            match row {
                Some(row) => drop(all.insert(name, row)),
                None => drop(all.remove(&name)),
            }
        }
    }

    /// Checks the limits of a host, as its commit would.
    pub(crate) fn check(&self, writes: &ScheduleWrites, limits: &JobLimits) -> Result<(), Fault> {
        let mut agenda = Agenda::default();
        self.0.iter().for_each(|(name, row)| agenda.put(id(name), row.next_ms, bytes(name, row)));
        let changes = writes.0.iter().map(|(name, row)| (id(name), row.as_ref().map(|row| bytes(name, row)))).collect();
        let admitted = JobTally::default().admit(&agenda, Some(limits), changes);
        admitted.map_err(|full| Fault::oversize(full.to_string()))
    }
}

impl ScheduleWrites {
    /// A schedule that the callback has written: the outer option is none if it hasn't.
    #[allow(
        clippy::option_option,
        reason = "the outer option is about the callback, and the inner one about the schedule"
    )]
    pub(crate) fn get(&self, topic: &Topic, key: &str) -> Option<Option<&JobRow>> {
        self.0.get(&(topic.clone(), key.into())).map(Option::as_ref)
    }

    pub(crate) fn set(&mut self, topic: Topic, key: Box<str>, row: Option<JobRow>) {
        self.0.insert((topic, key), row);
    }

    /// The callback has been fired by this schedule, which is done. A write of the callback to the same key stays.
    pub(crate) fn finish(&mut self, topic: Topic, key: Box<str>) {
        self.0.entry((topic, key)).or_insert(None);
    }
}

fn id((topic, key): &Name) -> JobId {
    JobId { plugin: "plugin".into(), kind: JobKind::Schedule, topic: topic.clone(), key: key.clone() }
}

/// About the bytes that a host counts for a row.
fn bytes((topic, key): &Name, row: &JobRow) -> u64 {
    (topic.as_str().len() + key.len() + row.encode().len()) as u64
}
