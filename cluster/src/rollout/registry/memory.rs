//! A registry in memory, for nodes of one process. As the table of nodes in memory, it is always compiled.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{ChangeResult, LivingNode, RecordsChange, Registry, RegistryError, RegistryFuture, RegistrySnapshot};
use crate::node::{Epoch, NodeId};
use crate::rollout::digest::BuildDigest;
use crate::rollout::record::Records;
use crate::rollout::report::{NodeReport, Report};
use crate::table::NodeTable;
use crate::table::memory::MemoryTable;

/// A registry in memory, beside a table of nodes.
#[derive(Debug)]
pub struct MemoryRegistry {
    table: Arc<MemoryTable>,
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    revision: u64,
    records: Records,
    reports: BTreeMap<(String, Epoch), Report>,
    /// The bytes of builds, and who has brought them.
    builds: HashMap<BuildDigest, (Epoch, Bytes)>,
    /// Which generation may write, by the name under which data is stored.
    generations: BTreeMap<String, u32>,
}

impl MemoryRegistry {
    /// An empty registry of the nodes in a table.
    #[must_use]
    pub fn new(table: Arc<MemoryTable>) -> Self {
        Self { table, contents: Mutex::default() }
    }

    /// The generation whose calls may write data that is stored under a name.
    #[must_use]
    pub fn writes(&self, store: &str) -> Option<u32> {
        self.lock().generations.get(store).copied()
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        // No panic can leave the contents half changed.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fence(&self, me: NodeId) -> Result<(), RegistryError> {
        let fenced = || RegistryError::Refused("this node counts as dead".to_owned());
        self.table.may_commit(me).then_some(()).ok_or_else(fenced)
    }

    async fn nodes(&self) -> Result<Vec<crate::table::NodeRow>, RegistryError> {
        self.table.list().await.map_err(|error| RegistryError::Down(error.to_string()))
    }
}

impl Contents {
    fn change(&mut self, me: Epoch, change: RecordsChange, is_living: impl Fn(Epoch) -> bool) -> ChangeResult {
        let RecordsChange { former, changed, generations, builds, keeps_all_builds } = change;
        if former != self.revision {
            return ChangeResult::Outdated;
        }
        if builds.iter().any(|digest| !self.builds.contains_key(digest)) {
            return ChangeResult::BuildMissing;
        }
        self.revision += 1;
        for (name, record) in changed {
            match record {
                Some(record) => drop(self.records.insert(name, record)),
                None => drop(self.records.remove(&name)),
            }
        }
        for (store, generation) in generations {
            match generation {
                Some(generation) => drop(self.generations.insert(store, generation)),
                None => drop(self.generations.remove(&store)),
            }
        }
        let Self { records, reports, builds: kept, .. } = self;
        reports.retain(|(plugin, _), _| records.contains_key(plugin));
        // Another living node may be about to need what it has brought.
        kept.retain(|digest, (by, _)| keeps_all_builds || builds.contains(digest) || *by != me && is_living(*by));
        ChangeResult::Done
    }
}

impl Registry for MemoryRegistry {
    fn read(&self, known: Option<u64>) -> RegistryFuture<'_, RegistrySnapshot> {
        Box::pin(async move {
            let rows = self.nodes().await?;
            let contents = self.lock();
            let living = rows.iter().filter(|row| !row.is_dead);
            let nodes = living.map(|row| LivingNode { epoch: row.id.epoch, name: row.name.clone() }).collect();
            let of = |((plugin, epoch), report): (&(String, Epoch), &Report)| NodeReport {
                plugin: plugin.clone(),
                epoch: *epoch,
                report: report.clone(),
            };
            Ok(RegistrySnapshot {
                revision: contents.revision,
                records: (known != Some(contents.revision)).then(|| contents.records.clone()),
                nodes,
                reports: contents.reports.iter().map(of).collect(),
                unread: BTreeMap::new(),
                unread_reports: Vec::new(),
                unread_report_count: 0,
            })
        })
    }

    fn change(&self, me: NodeId, change: RecordsChange) -> RegistryFuture<'_, ChangeResult> {
        Box::pin(async move {
            let rows = self.nodes().await?;
            self.fence(me)?;
            let is_living = |epoch| rows.iter().any(|row| row.id.epoch == epoch && !row.is_dead);
            Ok(self.lock().change(me.epoch, change, is_living))
        })
    }

    fn report(&self, me: NodeId, reports: Vec<(String, Report)>) -> RegistryFuture<'_, ()> {
        Box::pin(async move {
            self.fence(me)?;
            let mut contents = self.lock();
            for (plugin, report) in reports {
                if contents.records.contains_key(&plugin) {
                    contents.reports.insert((plugin, me.epoch), report);
                }
            }
            Ok(())
        })
    }

    fn keep_build(&self, me: NodeId, digest: BuildDigest, bytes: Bytes) -> RegistryFuture<'_, ()> {
        Box::pin(async move {
            self.fence(me)?;
            self.lock().builds.insert(digest, (me.epoch, bytes));
            Ok(())
        })
    }

    fn build(&self, digest: BuildDigest) -> RegistryFuture<'_, Option<Bytes>> {
        let found = self.lock().builds.get(&digest).map(|(_, bytes)| bytes.clone());
        Box::pin(std::future::ready(Ok(found)))
    }
}
