//! Calls that are committed together: each as if those before it were done already.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use super::draft::{Draft, Seen};
use super::engine::{EngineError, Writes};
use super::metadata;
use super::recent::Recent;

/// Why a call's writes weren't done. None of them was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitError {
    /// Something that it had read was written by another one meanwhile. It may run again.
    Conflict,
    /// The plugin would have more than it may.
    Quota {
        /// The bytes that it would have.
        bytes: u64,
        /// The bytes that it may have.
        most: u64,
    },
    /// The engine failed.
    Failed(EngineError),
    /// The store is closing.
    Stopping,
}

/// What has been admitted so far, on top of what is committed.
pub(super) struct Batch<'a> {
    seen: &'a Seen,
    writes: Writes,
    /// The bytes that each plugin will have.
    usage: BTreeMap<String, u64>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(seen: &'a Seen) -> Self {
        Self { seen, writes: Writes::new(), usage: BTreeMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Adds a call's writes, or none of them.
    ///
    /// # Errors
    /// Where it was overtaken by what is committed or admitted, or would have its plugin go past its quota.
    pub(super) async fn admit(&mut self, draft: &Draft) -> Result<(), CommitError> {
        if self.conflicts_with(draft) {
            return Err(CommitError::Conflict);
        }
        let before = match self.usage.get(draft.owner.name()) {
            Some(usage) => *usage,
            None => metadata::read(&*self.seen.snapshot, &metadata::usage(draft.owner.name())).await?.unwrap_or(0),
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
        let after = (before + added).saturating_sub(removed);
        let most = draft.owner.quota_bytes();
        // Who has too much already may still make it less.
        if after > most && after > before {
            return Err(CommitError::Quota { bytes: after, most });
        }
        self.usage.insert(draft.owner.name().to_owned(), after);
        self.writes.extend(draft.writes.iter().map(|(place, value)| (place.clone(), value.clone())));
        Ok(())
    }

    fn conflicts_with(&self, draft: &Draft) -> bool {
        draft.footprint.spans().any(|(from, until)| self.writes.range::<Bytes, _>(from..until).next().is_some())
    }

    /// All that is to be written, and which of it calls may have read.
    pub(super) fn finish(mut self) -> (Writes, Vec<Bytes>) {
        let keys = self.writes.keys().cloned().collect();
        for (plugin, usage) in &self.usage {
            let entry = Some(*usage).filter(|usage| *usage > 0).map(metadata::entry);
            self.writes.insert(metadata::usage(plugin), entry);
        }
        (self.writes, keys)
    }
}

/// Whether what a call has read was written since by another one.
pub(super) fn has_conflict(draft: &Draft, recent: &Recent) -> bool {
    recent.has_overtaken(&draft.footprint, draft.seen.revision)
}

impl From<EngineError> for CommitError {
    fn from(error: EngineError) -> Self {
        Self::Failed(error)
    }
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict => f.write_str("what the call had read in the store was written by another one meanwhile"),
            Self::Quota { bytes, most } => {
                write!(
                    f,
                    "the plugin would have {bytes} bytes in the store; its quota is {most} \
                     (`limits.store_bytes_per_plugin`, or `store_bytes` of the plugin)"
                )
            }
            Self::Failed(error) => write!(f, "the store can't be written: {error}"),
            Self::Stopping => f.write_str("the store is closing"),
        }
    }
}

impl std::error::Error for CommitError {}
