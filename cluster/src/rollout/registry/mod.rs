//! Where the records, the reports and the bytes of builds are.

pub(super) mod memory;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use super::digest::BuildDigest;
use super::record::{PluginRecord, Records};
use super::report::{NodeReport, Report};
use crate::node::{Epoch, NodeId};

/// A future that a registry returns.
pub type RegistryFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, RegistryError>> + Send + 'a>>;

/// The most bytes of a build.
pub const BUILD_BYTES_MAX: usize = 128 << 20;

/// A node that is alive in the table of nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LivingNode {
    /// Its start.
    pub epoch: Epoch,
    /// Its name.
    pub name: String,
}

/// What a registry has, at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RegistrySnapshot {
    /// Raised by each change of the records.
    pub revision: u64,
    /// The records. None if they are still those of the revision that the caller knows.
    pub records: Option<Records>,
    /// Why the records of some plugins can't be read, by plugin. They aren't in `records`, and are left out together with these.
    pub unread: BTreeMap<String, String>,
    /// The living nodes.
    pub nodes: Vec<LivingNode>,
    /// The reports of living nodes, and of those that died lately.
    pub reports: Vec<NodeReport>,
    /// Some of the reports that can't be read.
    pub unread_reports: Vec<UnreadableRow>,
    /// How many reports can't be read, with those in `unread_reports`.
    pub unread_report_count: usize,
}

/// A row that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnreadableRow {
    /// Which row it is. It is the same at each read, whatever the row contains.
    pub row: String,
    /// Why it can't be read.
    pub why: String,
}

/// A change of the records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordsChange {
    /// The revision of the records that are changed.
    pub former: u64,
    /// The records that change. A record without a value is removed.
    pub changed: Vec<(String, Option<PluginRecord>)>,
    /// The names under which data is stored, with the generation whose calls may write it from now on.
    pub generations: Vec<(String, Option<u32>)>,
    /// The builds that the records need, after the change.
    pub builds: BTreeSet<BuildDigest>,
    /// Whether all other builds stay as well, because a record that can't be read may need them.
    pub keeps_all_builds: bool,
}

/// What has become of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeResult {
    /// It is written. Calls of other generations store nothing any more.
    Done,
    /// Somebody else has changed the records since that revision.
    Outdated,
    /// The registry doesn't have a build that the records would need.
    BuildMissing,
}

/// Why a registry didn't answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryError {
    /// It can't be reached now. A change may be written nevertheless.
    Down(String),
    /// It can't be used as it is, or has refused. The text says why.
    Refused(String),
}

/// The records of a cluster's plugins, the reports of its nodes, and the bytes of builds. Each call is one statement, or some that hold
/// nothing between them. What a dead node writes is refused.
pub trait Registry: Send + Sync + 'static {
    /// Reads everything. If `known` is still the revision, the records are left out.
    fn read(&self, known: Option<u64>) -> RegistryFuture<'_, RegistrySnapshot>;

    /// Changes records, and which generations may write, if nobody else has changed the records.
    fn change(&self, me: NodeId, change: RecordsChange) -> RegistryFuture<'_, ChangeResult>;

    /// Sets what this node says of some plugins.
    fn report(&self, me: NodeId, reports: Vec<(String, Report)>) -> RegistryFuture<'_, ()>;

    /// Keeps the bytes of a build for records that are written soon. Bytes that no record needs are removed by later changes.
    fn keep_build(&self, me: NodeId, digest: BuildDigest, bytes: Bytes) -> RegistryFuture<'_, ()>;

    /// Returns the bytes of a build, or none if they aren't there as a whole. The caller checks the digest.
    fn build(&self, digest: BuildDigest) -> RegistryFuture<'_, Option<Bytes>>;
}

impl RecordsChange {
    /// The change from one set of records to another.
    #[must_use]
    pub fn between(former: u64, before: &Records, after: &Records) -> Self {
        let mut change = Self { former, ..Self::default() };
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for name in names {
            let (old, new) = (before.get(name), after.get(name));
            if old == new {
                continue;
            }
            change.changed.push((name.clone(), new.cloned()));
            let may_write = |record: Option<&PluginRecord>| Some((record?.store.clone(), record?.generation()?));
            if may_write(old) == may_write(new) {
                continue;
            }
            if let Some((store, _)) = may_write(old) {
                change.generations.push((store, None));
            }
            if let Some((store, generation)) = may_write(new) {
                change.generations.retain(|(other, _)| *other != store);
                change.generations.push((store, Some(generation)));
            }
        }
        change.builds = after.values().flat_map(PluginRecord::builds).collect();
        change
    }
}

impl fmt::Display for RegistryError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down(why) => write!(formatter, "the records of plugins can't be reached: {why}"),
            Self::Refused(why) => formatter.write_str(why),
        }
    }
}

impl std::error::Error for RegistryError {}
