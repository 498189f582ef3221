//! Jobs in a draft: the rows of what is done later. The names and values of the rows are those of `bennu_semantics::jobs`.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bennu_semantics::jobs::{JobId, JobKind, JobRow};
use bennu_semantics::limits::Oversize;
use bytes::Bytes;

use super::batch::CommitError;
use super::draft::{Draft, ReadError};
use super::engine::EngineError;
use super::handle::Store;
use super::space::{Kind, Owner, Place};

/// A stored job: its row, and the stored bytes, by which a commit finds out whether it is still the same.
#[derive(Clone, Debug)]
pub struct StoredJob {
    /// The row.
    pub row: JobRow,
    stored: Bytes,
}

impl Draft {
    /// Returns a job of the plugin, with the draft's own writes.
    ///
    /// # Errors
    /// If the engine fails, or the row is damaged.
    pub async fn job(
        &mut self,
        kind: JobKind,
        topic: &str,
        key: &str,
    ) -> std::result::Result<Option<StoredJob>, ReadError> {
        let place = self.owner.place(Kind::Jobs, &JobId::name_of(kind, topic, key));
        self.value(&place).await?.map(decode).transpose()
    }

    /// Writes a job for a call, or removes it. It counts as a write of the call.
    ///
    /// # Errors
    /// If the call writes too much.
    pub fn set_job(
        &mut self,
        kind: JobKind,
        topic: &str,
        key: &str,
        row: Option<&JobRow>,
    ) -> std::result::Result<(), Oversize> {
        let place = self.owner.place(Kind::Jobs, &JobId::name_of(kind, topic, key));
        self.write_own(place, row.map(JobRow::encode))
    }

    /// Replaces a job for the host, or removes it, if it is still the one that was read. A write of the draft itself stays: a
    /// callback may schedule the key that it was fired by. Returns whether the job is still the same.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn finish_job(
        &mut self,
        id: &JobId,
        read: &StoredJob,
        next: Option<&JobRow>,
    ) -> std::result::Result<bool, ReadError> {
        let place = self.owner.place(Kind::Jobs, &id.name());
        let stored = self.seen.value(&place).await?;
        self.footprint.add_key(&place, self.seen.limits.reads_per_call);
        if stored.as_ref() != Some(&read.stored) {
            return Ok(false);
        }
        self.writes.entry(place).or_insert_with(|| next.map(JobRow::encode));
        Ok(true)
    }

    /// Returns the jobs that the draft writes, each with the bytes of its row, or none if the row is removed.
    pub(super) fn job_changes(&self) -> Vec<(JobId, Option<u64>)> {
        let (span, name) = (self.owner.span(Kind::Jobs), Arc::<str>::from(self.owner.name()));
        let rows = self.writes.range(span.from..span.until);
        rows.filter_map(|(place, row)| {
            let bytes = row.as_ref().map(|row| (place.len() + row.len()) as u64);
            Some((JobId::read(Arc::clone(&name), &self.owner.name_of(place))?, bytes))
        })
        .collect()
    }
}

impl Store {
    /// Returns a stored job.
    ///
    /// # Errors
    /// If the engine fails, or the row is damaged.
    pub async fn read_job(&self, id: &JobId) -> Result<Option<StoredJob>> {
        let mut draft = self.begin(&host_owner(id)?);
        Ok(draft.job(id.kind, id.topic.as_str(), &id.key).await?)
    }

    /// Writes a job for the host, or removes it.
    ///
    /// # Errors
    /// If the engine fails.
    pub async fn put_job(&self, id: &JobId, row: Option<&JobRow>) -> Result<()> {
        let mut draft = self.begin(&host_owner(id)?);
        draft.set_job(id.kind, id.topic.as_str(), &id.key, row)?;
        self.commit(draft).await.context("writing the store")?;
        Ok(())
    }

    /// Replaces a job by what `change` makes of it, or removes it. Returns whether there is such a job.
    ///
    /// # Errors
    /// If the engine fails, or the job changes again and again meanwhile.
    pub async fn change_job(&self, id: &JobId, change: impl Fn(JobRow) -> Option<JobRow>) -> Result<bool> {
        let owner = host_owner(id)?;
        for _ in 0..CHANGES_MAX {
            let mut draft = self.begin(&owner);
            let Some(job) = draft.job(id.kind, id.topic.as_str(), &id.key).await? else { return Ok(false) };
            draft.set_job(id.kind, id.topic.as_str(), &id.key, change(job.row).as_ref())?;
            match self.commit(draft).await {
                Ok(_) => return Ok(true),
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(error).context("writing the store"),
            }
        }
        bail!("the job changed at each of {CHANGES_MAX} attempts; try again")
    }
}

/// How often a change of a job is tried again after a conflict.
const CHANGES_MAX: usize = 16;

/// The owner of a job, for the host: without a quota.
fn host_owner(id: &JobId) -> Result<Owner> {
    Ok(Owner::new(&id.plugin, u64::MAX)?)
}

/// Reads the place of a job.
pub(super) fn job_id(place: &Bytes) -> Option<JobId> {
    let Place { plugin, kind, name } = Place::read(place)?;
    (kind == Kind::Jobs).then(|| JobId::read(plugin.into(), &name)).flatten()
}

fn decode(stored: Bytes) -> std::result::Result<StoredJob, ReadError> {
    let row = JobRow::decode(stored.clone());
    let row = row.ok_or_else(|| ReadError::Failed(EngineError::new("a job in the store is damaged")))?;
    Ok(StoredJob { row, stored })
}
