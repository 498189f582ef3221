//! The task that keeps the plugins of a node as the cluster's records say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bennu_cluster::NodeId;
use bennu_cluster::rollout::{
    ChangeResult, Decision, DecisionEvent, Facts, LivingNode, NodeReport, Records, RecordsChange, Registry,
    RegistryError, SeenSince, decide,
};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::convert::terms_of;
use super::following::LoadDone;
use super::local::Local;
use super::offers::Upload;
use super::waiting::PendingAnswer;
use crate::cluster::Peers;
use crate::contract::system_now_ms;
use crate::plugin::{ClusterPlugins, FileOffer, LibraryEvent};
use crate::store::Store;

/// How often the records are read without a hint.
const READ_EVERY: Duration = Duration::from_secs(2);

/// The same while a rollout is prepared or a build is on probation: how late the faults of other nodes are seen.
const READ_OFTEN: Duration = Duration::from_secs(1);

/// The most rounds of reading, acting and deciding one after another.
const ROUNDS_MAX: usize = 8;

/// Keeps the plugins of a node as the cluster's records say, and takes part in the decisions about them.
pub struct Rollouts {
    pub(super) me: NodeId,
    /// The name of this node.
    pub(super) name: String,
    pub(super) registry: Arc<dyn Registry>,
    pub(super) plugins: ClusterPlugins,
    pub(super) peers: Arc<Peers>,
    store: Store,
    /// The records as they were read last, with their revision. No revision: they weren't read yet.
    pub(super) revision: Option<u64>,
    pub(super) records: Records,
    pub(super) nodes: Vec<LivingNode>,
    pub(super) reports: Vec<NodeReport>,
    /// Why the records of some plugins can't be read. They aren't in `records`.
    pub(super) unread: BTreeMap<String, String>,
    /// The plugins that count as gatekeepers as long as their records can't be read, although they don't serve here.
    pub(super) presumed_gatekeepers: BTreeSet<String>,
    /// The rows of which the log says that they can't be read.
    pub(super) logged_unreadable: BTreeSet<String>,
    /// The plugins whose files were refused while some record couldn't be read. They are offered again when that may be over.
    pub(super) refused_files: BTreeSet<String>,
    seen: SeenSince,
    began: Instant,
    pub(super) locals: BTreeMap<String, Local>,
    pub(super) loads: JoinSet<LoadDone>,
    pub(super) uploads: JoinSet<Upload>,
    /// The offers that came while the records couldn't be read.
    pub(super) stalled: Vec<FileOffer>,
    pub(super) waiting: Vec<PendingAnswer>,
    /// Whether the library has read all files once.
    is_scanned: bool,
    started: Option<oneshot::Sender<()>>,
    /// Whether the log says that the registry can't be reached.
    is_down: bool,
}

/// Ready when a node that starts serves what the cluster serves, as far as it can.
pub struct RolloutsStarted(oneshot::Receiver<()>);

impl RolloutsStarted {
    /// Waits until then.
    pub async fn wait(self) {
        // If the task has ended, the host ends, too.
        let _ = self.0.await;
    }
}

impl Rollouts {
    /// The rollouts of a node. Also returns what is ready when the node serves what the cluster serves.
    #[must_use]
    pub fn new(
        (me, name): (NodeId, String),
        registry: Arc<dyn Registry>,
        plugins: ClusterPlugins,
        peers: Arc<Peers>,
        store: Store,
    ) -> (Self, RolloutsStarted) {
        let (started, has_started) = oneshot::channel();
        let rollouts = Self {
            me,
            name,
            registry,
            plugins,
            peers,
            store,
            revision: None,
            records: Records::new(),
            nodes: Vec::new(),
            reports: Vec::new(),
            unread: BTreeMap::new(),
            presumed_gatekeepers: BTreeSet::new(),
            logged_unreadable: BTreeSet::new(),
            refused_files: BTreeSet::new(),
            seen: SeenSince::default(),
            began: Instant::now(),
            locals: BTreeMap::new(),
            loads: JoinSet::new(),
            uploads: JoinSet::new(),
            stalled: Vec::new(),
            waiting: Vec::new(),
            is_scanned: false,
            started: Some(started),
            is_down: false,
        };
        (rollouts, RolloutsStarted(has_started))
    }

    /// Runs until it is dropped.
    pub async fn run(mut self) {
        let counted = self.plugins.counted();
        loop {
            self.turn().await;
            let pause = if self.is_busy() { READ_OFTEN } else { READ_EVERY };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.peers.registry_changed() => {}
                () = counted.notified() => {}
                () = self.store.switched() => {}
                Some(done) = self.loads.join_next() => self.take_load(done),
                Some(done) = self.uploads.join_next() => self.take_upload(done).await,
                news = self.plugins.news() => match news {
                    Some(LibraryEvent::Offer(offer)) => self.hear_offer(*offer).await,
                    Some(LibraryEvent::Command { plugin, command, answer }) => {
                        self.command(&plugin, command, answer).await;
                    }
                    Some(LibraryEvent::Scanned) => self.is_scanned = true,
                    // The library ends with the host.
                    None => std::future::pending().await,
                },
            }
        }
    }

    /// Whether something is being decided.
    fn is_busy(&self) -> bool {
        self.records.values().any(|record| record.rollout.is_some() || record.probation().is_some())
    }

    /// Reads the records, does what they need, reports, and decides, until nothing changes.
    async fn turn(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let round = self.round().await;
            self.answer_waiting().await;
            self.show();
            match round {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return self.note_failure(&error),
            }
        }
        self.report_started();
    }

    /// Returns whether another round may find something new.
    async fn round(&mut self) -> Result<bool, RegistryError> {
        self.refresh().await?;
        for offer in std::mem::take(&mut self.stalled) {
            self.hear_offer(offer).await;
        }
        let has_followed = self.follow().await;
        let has_reported = self.report().await?;
        Ok(self.decide().await? || has_reported || has_followed)
    }

    /// Reads the registry.
    pub(super) async fn refresh(&mut self) -> Result<(), RegistryError> {
        // No revision says that a row was repaired by hand. So all records are read as long as one can't be.
        let known = self.revision.filter(|_| self.unread.is_empty());
        let snapshot = self.registry.read(known).await?;
        if std::mem::take(&mut self.is_down) {
            tracing::warn!("the records of the cluster's plugins can be reached again");
        }
        let is_first = self.revision.is_none();
        if let Some(records) = snapshot.records {
            self.records = records;
            self.take_unread(snapshot.unread, is_first).await;
        }
        self.note_unread(snapshot.unread_reports, snapshot.unread_report_count);
        (self.revision, self.nodes, self.reports) = (Some(snapshot.revision), snapshot.nodes, snapshot.reports);
        self.seen.note(&self.records, &self.reports, self.began.elapsed());
        Ok(())
    }

    fn note_failure(&mut self, error: &RegistryError) {
        self.peers.count_registry_failure();
        if !std::mem::replace(&mut self.is_down, true) {
            tracing::error!("{error}; no plugin changes in the cluster until then, and this node serves what it has");
        }
    }

    /// Reports what has changed. Returns whether anything has.
    async fn report(&mut self) -> Result<bool, RegistryError> {
        let changed = self.locals.iter().filter_map(|(name, local)| {
            let report = local.report(self.records.get(name)?, |build| self.why_taken(&build.topics))?;
            Some((name.clone(), report))
        });
        let changed: Vec<_> = changed.collect();
        if changed.is_empty() {
            return Ok(false);
        }
        self.registry.report(self.me, changed.clone()).await?;
        for (name, report) in changed {
            if let Some(local) = self.locals.get_mut(&name) {
                local.note_reported(report);
            }
        }
        Ok(true)
    }

    /// Decides what the reports allow. Returns whether anything has changed, here or elsewhere.
    async fn decide(&mut self) -> Result<bool, RegistryError> {
        let facts = Facts {
            me: self.me.epoch,
            nodes: &self.nodes,
            reports: &self.reports,
            reads_all: self.unread.is_empty(),
            seen: &self.seen,
            now: self.began.elapsed(),
            terms: terms_of(self.plugins.terms()),
            now_ms: system_now_ms(),
        };
        let Some(Decision { records, events }) = decide(&self.records, &facts) else { return Ok(false) };
        match self.write(records).await? {
            ChangeResult::Done => {
                events.iter().for_each(|(plugin, event)| log(plugin, event));
                Ok(true)
            }
            ChangeResult::Outdated => Ok(true),
            ChangeResult::BuildMissing => Err(RegistryError::Refused(
                "the database lacks the bytes of a build that its records name; was it restored in part?".to_owned(),
            )),
        }
    }

    /// Writes records in place of those that were read last, and tells the other nodes.
    pub(super) async fn write(&mut self, records: Records) -> Result<ChangeResult, RegistryError> {
        let mut change = RecordsChange::between(self.revision.unwrap_or_default(), &self.records, &records);
        change.keeps_all_builds = !self.unread.is_empty();
        let result = self.registry.change(self.me, change).await?;
        if result == ChangeResult::Done {
            self.peers.announce_registry_change();
        }
        Ok(result)
    }

    /// Says that the node serves what the cluster serves, once it does: all files were offered, and all builds have been loaded or refused.
    fn report_started(&mut self) {
        let is_settled = self.is_scanned
            && self.revision.is_some()
            && self.uploads.is_empty()
            && self.stalled.is_empty()
            && self.waiting.is_empty()
            && self.records.iter().all(|(name, record)| self.is_served(name, record));
        if is_settled && let Some(started) = self.started.take() {
            // The host may have stopped already.
            let _ = started.send(());
        }
    }
}

fn log(plugin: &str, event: &DecisionEvent) {
    match event {
        DecisionEvent::Switched(generation) => {
            tracing::info!(plugin, generation, "plugin_switched: all nodes of the cluster switch to this generation");
        }
        DecisionEvent::Refused { number, why } => {
            tracing::error!(plugin, rollout = number, "plugin_not_rolled_out: no node switches to it: {why}");
        }
        // Each node logs that it has switched.
        DecisionEvent::Passed(_) | DecisionEvent::RolledBack { .. } => {}
        DecisionEvent::NotRolledBack { generation, why } => {
            tracing::error!(plugin, generation, "plugin_not_taken_back: {why}");
        }
    }
}
