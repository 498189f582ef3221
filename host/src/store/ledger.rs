//! The interface of a store that several hosts write: the nodes of a cluster.
//!
//! An [`Engine`](super::engine::Engine) has one committer, which knows all writes and decides about conflicts. Of a ledger, each host has
//! one, and none of them knows what the others write. So the ledger decides, by the revision that a draft has read and by what it has
//! read. A revision belongs to one plugin, and grows with each batch of that plugin that stored something.

use std::sync::Arc;

use super::draft::Draft;
use super::engine::{EngineFuture, Snapshot};
use super::footprint::Footprint;
use super::revision::Revision;
use bytes::Bytes;

/// A map from ordered keys to bytes, which several hosts write.
pub(super) trait Ledger: Send + Sync + 'static {
    /// Returns a view for one draft of a plugin. All its reads are of one moment, or fail with an error that
    /// [is outdated](super::EngineError::is_outdated): then the call runs again. It holds nothing of the ledger.
    fn view(&self, plugin: &str) -> Arc<dyn Snapshot>;

    /// Returns a view that shows the latest rows at each read, for reads that no commit depends on.
    fn latest(&self) -> Arc<dyn Snapshot>;

    /// Returns a snapshot of the moment of its first read, for exports. It holds a connection, and keeps the ledger from removing old rows.
    fn moment(&self) -> Arc<dyn Snapshot>;

    /// Commits drafts of one plugin: of each draft all writes, or none. None of them has read what an earlier one writes. The caller
    /// commits one batch of a plugin at a time. When the future is ready, the writes survive a crash.
    ///
    /// # Errors
    /// If nothing is stored. Or, if the error is broken: if nobody knows what is stored, because the ledger didn't answer.
    fn commit<'a>(&'a self, plugin: &'a str, drafts: &'a [Draft]) -> EngineFuture<'a, Answer>;

    /// Whether nothing that was read of a plugin at a revision was written since.
    ///
    /// # Errors
    /// If the ledger doesn't answer.
    fn is_current<'a>(&'a self, plugin: &'a str, since: Revision, read: &'a Footprint) -> EngineFuture<'a, bool>;

    /// Sets a number of the metadata, unless a greater one is there.
    ///
    /// # Errors
    /// If the ledger doesn't answer. Then the number may be set.
    fn raise(&self, place: Bytes, number: u64) -> EngineFuture<'_, ()>;

    /// Forgets which keys a plugin's batches wrote, up to a revision: drafts that have read an earlier one have a conflict from now on.
    ///
    /// # Errors
    /// If the ledger doesn't answer. Then a part may be forgotten.
    fn prune<'a>(&'a self, plugin: &'a str, up_to: Revision) -> EngineFuture<'a, ()>;

    /// Gives the ledger up. Nothing is committed any more.
    ///
    /// # Errors
    /// If it can't be told. It notices by itself later.
    fn close(&self) -> EngineFuture<'_, ()>;
}

/// The answer to a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The revision of the batch, or the last one before if nothing was stored.
    pub(super) revision: Revision,
    /// For each draft.
    pub(super) results: Vec<DraftResult>,
}

/// What became of a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DraftResult {
    Stored,
    /// Something that it has read was written since.
    Conflict,
    /// Another generation of the plugin serves in the cluster.
    OtherGeneration,
    /// The plugin would have this many bytes.
    OverQuota(u64),
}
