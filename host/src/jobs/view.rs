//! What an operator sees and does: jobs with their states, retried or dropped.

use std::sync::Arc;

use anyhow::{Context, Result};

use crate::contract::NowMs;
use crate::contract::jobs::{JobId, JobKind, JobRow, Phase};
use crate::protocol::Topic;
use crate::store::Store;

/// The most jobs of one answer.
pub const LISTED_MAX: usize = 1000;

/// The jobs of a host.
pub struct Jobs {
    store: Store,
    clock: NowMs,
}

/// What happens with a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It waits for its time.
    Waiting,
    /// Its callback runs.
    Running,
    /// It is due, and no plugin serves its topic.
    Unserved,
    /// It has failed, and is tried again.
    Retrying,
    /// It has failed five times.
    GivenUp,
}

/// A job.
#[derive(Clone, Debug)]
pub struct JobView {
    /// Its identity.
    pub id: Arc<JobId>,
    /// What happens with it.
    pub state: JobState,
    /// Its row.
    pub row: JobRow,
}

/// How many jobs there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobCounts {
    /// All.
    pub all: usize,
    /// Those that are given up.
    pub given_up: usize,
    /// Those that no plugin serves.
    pub unserved: usize,
}

/// Why a job wasn't changed.
#[derive(Debug)]
pub enum NotChanged {
    /// There is no such job.
    Unknown,
    /// The store failed, or the job changed meanwhile.
    Failed(anyhow::Error),
}

impl Jobs {
    /// The jobs of a store.
    #[must_use]
    pub fn new(store: Store, clock: NowMs) -> Self {
        Self { store, clock }
    }

    /// How many there are.
    #[must_use]
    pub fn counts(&self) -> JobCounts {
        let (all, given_up, unserved) = self.store.jobs().with(|agenda| agenda.counts());
        JobCounts { all, given_up, unserved }
    }

    /// Up to `most` jobs of a kind after one of them, in the order of their plugins, topics and keys; of one plugin, if it is
    /// named. Also returns whether there are more.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn list(
        &self,
        kind: JobKind,
        plugin: Option<&str>,
        after: Option<&JobId>,
        most: usize,
    ) -> Result<(Vec<JobView>, bool)> {
        let mut found: Vec<_> = self.store.jobs().with(|agenda| {
            let of_kind = agenda.after(after).filter(|(id, _)| id.kind == kind);
            let of_plugin = of_kind.filter(|(id, _)| plugin.is_none_or(|plugin| *id.plugin == *plugin));
            of_plugin.take(most + 1).map(|(id, slot)| (Arc::clone(id), slot.phase)).collect()
        });
        let has_more = found.len() > most;
        found.truncate(most);
        let mut jobs = Vec::new();
        for (id, phase) in found {
            let read = self.store.read_job(&id).await.with_context(|| format!("reading {id}"))?;
            // It may have been done meanwhile.
            let Some(job) = read else { continue };
            let state = match phase {
                Phase::Running => JobState::Running,
                Phase::Held => JobState::Unserved,
                Phase::GivenUp => JobState::GivenUp,
                Phase::Waiting if job.row.failures > 0 => JobState::Retrying,
                Phase::Waiting => JobState::Waiting,
            };
            jobs.push(JobView { id, state, row: job.row });
        }
        Ok((jobs, has_more))
    }

    /// Tries a job at once, and then as often as a new one.
    ///
    /// # Errors
    /// If there is no such job, or the store fails.
    pub async fn retry(&self, id: &JobId) -> Result<(), NotChanged> {
        self.change(id, |row| Some(row.retried((self.clock)()))).await
    }

    /// Removes a job. It isn't done any more.
    ///
    /// # Errors
    /// If there is no such job, or the store fails.
    pub async fn drop_job(&self, id: &JobId) -> Result<(), NotChanged> {
        self.change(id, |_| None).await
    }

    async fn change(&self, id: &JobId, change: impl Fn(JobRow) -> Option<JobRow>) -> Result<(), NotChanged> {
        let found = self.store.change_job(id, change).await.map_err(NotChanged::Failed)?;
        if found { Ok(()) } else { Err(NotChanged::Unknown) }
    }
}

impl JobState {
    /// Its name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Unserved => "unserved",
            Self::Retrying => "retrying",
            Self::GivenUp => "given-up",
        }
    }
}

/// The identity of a job.
#[must_use]
pub fn job_id(kind: JobKind, store: &str, topic: &str, key: &str) -> JobId {
    JobId { plugin: store.into(), kind, topic: Topic::new(topic), key: key.into() }
}
