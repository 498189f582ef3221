//! Counts the jobs of transactions that are committed together, against their limits.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{Agenda, JobId};
use crate::Topic;
use crate::limits::{JobLimits, keys, limit_key};

/// A plugin would have too many jobs. Nothing of the transaction is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobsFull {
    /// About one topic.
    Topic {
        /// The most jobs about a topic.
        limit: u64,
    },
    /// In total.
    Plugin {
        /// The most jobs of a plugin.
        limit: u64,
    },
    /// Their rows are too large together.
    Bytes {
        /// The most bytes.
        limit: u64,
    },
}

/// The changes of jobs by the transactions of a batch, on top of an agenda.
#[derive(Debug, Default)]
pub struct JobTally {
    /// The bytes of the rows that were written. `None` for a removed one.
    changes: BTreeMap<JobId, Option<u64>>,
    plugins: BTreeMap<Arc<str>, Change>,
    topics: BTreeMap<(Arc<str>, Topic), i64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Change {
    count: i64,
    bytes: i64,
}

impl JobTally {
    /// Adds the changes of one transaction: each job with the bytes of its row, or `None` if the row is removed. `limits` is
    /// `None` for a transaction of the host itself, which no limit prevents.
    ///
    /// # Errors
    /// If the plugin would have more jobs than before, and too many. Then nothing is added.
    pub fn admit(
        &mut self,
        agenda: &Agenda,
        limits: Option<&JobLimits>,
        changes: Vec<(JobId, Option<u64>)>,
    ) -> Result<(), JobsFull> {
        let (mut plugins, mut topics) = (BTreeMap::<_, Change>::new(), BTreeMap::<_, i64>::new());
        for (id, bytes) in &changes {
            let before = match self.changes.get(id) {
                Some(changed) => *changed,
                None => agenda.get(id).map(|slot| slot.bytes),
            };
            let count = i64::from(bytes.is_some()) - i64::from(before.is_some());
            let change = plugins.entry(Arc::clone(&id.plugin)).or_default();
            change.count += count;
            change.bytes += signed(bytes.unwrap_or(0)) - signed(before.unwrap_or(0));
            *topics.entry((Arc::clone(&id.plugin), id.topic.clone())).or_default() += count;
        }
        if let Some(limits) = limits {
            self.check(agenda, limits, &plugins, &topics, &changes)?;
        }
        for (plugin, change) in plugins {
            let sum = self.plugins.entry(plugin).or_default();
            *sum = Change { count: sum.count + change.count, bytes: sum.bytes + change.bytes };
        }
        for (topic, count) in topics {
            *self.topics.entry(topic).or_default() += count;
        }
        self.changes.extend(changes);
        Ok(())
    }

    fn check(
        &self,
        agenda: &Agenda,
        limits: &JobLimits,
        plugins: &BTreeMap<Arc<str>, Change>,
        topics: &BTreeMap<(Arc<str>, Topic), i64>,
        changes: &[(JobId, Option<u64>)],
    ) -> Result<(), JobsFull> {
        for (plugin, change) in plugins {
            let (usage, earlier) = (agenda.usage(plugin), self.plugins.get(plugin).copied().unwrap_or_default());
            let count = signed(usage.count) + earlier.count + change.count;
            if change.count > 0 && count > signed(limits.per_plugin) {
                return Err(JobsFull::Plugin { limit: limits.per_plugin });
            }
            let bytes = signed(usage.bytes) + earlier.bytes + change.bytes;
            if change.bytes > 0 && bytes > signed(limits.bytes_per_plugin) {
                return Err(JobsFull::Bytes { limit: limits.bytes_per_plugin });
            }
        }
        for (id, _) in changes {
            let topic = (Arc::clone(&id.plugin), id.topic.clone());
            let (earlier, more) = (self.topics.get(&topic).copied().unwrap_or_default(), topics[&topic]);
            if more > 0 && signed(agenda.count_of_topic(id)) + earlier + more > signed(limits.per_topic) {
                return Err(JobsFull::Topic { limit: limits.per_topic });
            }
        }
        Ok(())
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl fmt::Display for JobsFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic { limit } => {
                let key = limit_key(keys::SCHEDULES_PER_TOPIC, limit);
                write!(f, "a plugin has at most {limit} schedules of one topic{key}; cancel some of them")
            }
            Self::Plugin { limit } => {
                let key = limit_key(keys::SCHEDULES_PER_PLUGIN, limit);
                write!(f, "a plugin has at most {limit} schedules{key}; cancel some of them")
            }
            Self::Bytes { limit } => {
                let key = limit_key(keys::SCHEDULE_BYTES_PER_PLUGIN, limit);
                write!(f, "the schedules of a plugin have at most {limit} bytes together{key}; cancel some of them")
            }
        }
    }
}

impl std::error::Error for JobsFull {}
