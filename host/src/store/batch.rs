//! Drafts that are committed together. Each is checked as if the drafts before it were already committed.

use std::collections::BTreeMap;
use std::fmt;

use bennu_semantics::deliveries::{DeliveriesFull, DeliveryTally};
use bennu_semantics::jobs::{JobTally, JobsFull};
use bytes::Bytes;

use super::delivery_board::DeliveryBoard;
use super::draft::{Draft, Seen};
use super::engine::{EngineError, Writes};
use super::job_board::JobBoard;
use super::metadata;
use super::recent::Recent;
use super::space;

/// Why a call's writes were refused. None of them is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitError {
    /// Another commit changed a key that the call had read. The call can be retried.
    Conflict,
    /// Another generation of the plugin serves in the cluster. The call can be retried, on that generation.
    OtherGeneration,
    /// The plugin would exceed its quota.
    Quota {
        /// The bytes that the plugin would have.
        bytes: u64,
        /// The quota in bytes.
        most: u64,
    },
    /// The plugin would have too many jobs.
    Jobs(JobsFull),
    /// The plugin would have too many deliveries.
    Deliveries(DeliveriesFull),
    /// The nodes of a cluster don't store this kind of rows.
    NotShared(&'static str),
    /// The engine failed.
    Failed(EngineError),
    /// The store is closing.
    Stopping,
}

/// The writes that were admitted so far, on top of the committed content.
pub(super) struct Batch<'a> {
    seen: &'a Seen,
    writes: Writes,
    usage: BTreeMap<String, Usage>,
    jobs: JobTally,
    deliveries: DeliveryTally,
}

/// The bytes of a plugin.
#[derive(Clone, Copy)]
struct Usage {
    /// As they are stored.
    before: u64,
    /// After this batch.
    after: u64,
}

impl<'a> Batch<'a> {
    pub(super) fn new(seen: &'a Seen) -> Self {
        let (jobs, deliveries) = (JobTally::default(), DeliveryTally::default());
        Self { seen, writes: Writes::new(), usage: BTreeMap::new(), jobs, deliveries }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Adds all of a call's writes, or none.
    ///
    /// # Errors
    /// If an admitted draft writes a key that this call has read, if the plugin would exceed its quota or have too many jobs or
    /// deliveries,
    /// or if the engine fails. Conflicts with committed writes are found by [`has_conflict`].
    pub(super) async fn admit(
        &mut self,
        draft: &Draft,
        (jobs, deliveries): (&JobBoard, &DeliveryBoard),
    ) -> Result<(), CommitError> {
        if self.conflicts_with(draft) {
            return Err(CommitError::Conflict);
        }
        let name = draft.owner.name();
        let usage = match self.usage.get(name) {
            Some(usage) => *usage,
            None => {
                let stored = metadata::read(&*self.seen.snapshot, &metadata::usage(name)).await?.unwrap_or(0);
                Usage { before: stored, after: stored }
            }
        };
        let (mut added, mut removed) = (0, 0);
        for (place, value) in &draft.writes {
            let weight = |value: &Bytes| draft.owner.weight(place, value);
            removed += match self.writes.get(place) {
                Some(admitted) => admitted.as_ref().map_or(0, weight),
                None => self.seen.snapshot.get(place).await?.as_ref().map_or(0, weight),
            };
            added += value.as_ref().map_or(0, weight);
        }
        let after = (usage.after + added).saturating_sub(removed);
        let most = draft.owner.quota_bytes();
        // A plugin that is over its quota already may still delete data.
        if after > most && after > usage.after {
            return Err(CommitError::Quota { bytes: after, most });
        }
        if space::has_jobs(&draft.writes) {
            let limits = draft.owner.is_limited().then_some(&draft.limits().jobs);
            self.jobs.admit(&jobs.agenda(), limits, draft.job_changes()).map_err(CommitError::Jobs)?;
        }
        if space::has_deliveries(&draft.writes) && draft.owner.is_limited() {
            let (limits, added) = (&draft.limits().deliveries, draft.delivery_usage());
            let admitted = self.deliveries.admit(&deliveries.queue(), limits, name, added);
            admitted.map_err(CommitError::Deliveries)?;
        }
        self.usage.insert(name.to_owned(), Usage { after, ..usage });
        self.writes.extend(draft.writes.iter().map(|(place, value)| (place.clone(), value.clone())));
        Ok(())
    }

    fn conflicts_with(&self, draft: &Draft) -> bool {
        draft.footprint.spans().any(|(from, until)| self.writes.range::<Bytes, _>(from..until).next().is_some())
    }

    /// Returns all writes of the batch, and those of its keys that drafts can read: neither the metadata nor entries.
    pub(super) fn finish(mut self) -> (Writes, Vec<Bytes>) {
        let keys = self.writes.keys().filter(|place| space::is_read_by_drafts(place)).cloned().collect();
        // A write costs a path of pages, so the usage is written only if it changes.
        for (plugin, Usage { after, .. }) in self.usage.iter().filter(|(_, usage)| usage.before != usage.after) {
            let entry = Some(*after).filter(|after| *after > 0).map(metadata::entry);
            self.writes.insert(metadata::usage(plugin), entry);
        }
        (self.writes, keys)
    }
}

/// Returns the keys that the admission of these drafts reads.
pub(super) fn places(drafts: &[Draft]) -> Vec<Bytes> {
    let usages = drafts.iter().map(|draft| metadata::usage(draft.owner.name()));
    drafts.iter().flat_map(|draft| draft.writes.keys().cloned()).chain(usages).collect()
}

/// Whether another commit changed a key that the draft has read, since the draft began.
pub(super) fn has_conflict(draft: &Draft, recent: &Recent) -> bool {
    recent.has_overtaken(&draft.footprint, draft.since())
}

impl CommitError {
    /// Whether nobody knows if the writes are stored: the engine failed while it wrote, and is not reopened yet.
    #[must_use]
    pub fn is_uncertain(&self) -> bool {
        matches!(self, Self::Failed(error) if error.is_broken())
    }
}

impl From<EngineError> for CommitError {
    fn from(error: EngineError) -> Self {
        Self::Failed(error)
    }
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict => f.write_str("the call's reads of the store were changed by another commit"),
            Self::OtherGeneration => f.write_str("another generation of the plugin serves in the cluster"),
            Self::Quota { bytes, most } => {
                write!(
                    f,
                    "the plugin would have {bytes} bytes in the store; its quota is {most} \
                     (`limits.store_bytes_per_plugin`, or `store_bytes` of the plugin)"
                )
            }
            Self::Jobs(full) => full.fmt(f),
            Self::Deliveries(full) => full.fmt(f),
            Self::NotShared(what) => write!(f, "{what} aren't stored in a cluster"),
            Self::Failed(error) => write!(f, "the store can't be written: {error}"),
            Self::Stopping => f.write_str("the store is closing"),
        }
    }
}

impl std::error::Error for CommitError {}
