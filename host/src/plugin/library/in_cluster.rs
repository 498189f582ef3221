//! The library of a node of a cluster. It reads files and offers their builds, but the records of the cluster say which builds serve. So it
//! loads, publishes and withdraws builds by order, and decides about no probation.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{JoinError, JoinSet, spawn_blocking};

use super::super::guest::Origin;
use super::super::loader::Loaded;
use super::super::status::RolledBack;
use super::super::{Kind, Likeness};
use super::Library;
use super::cluster_orders::{
    BuildFacts, BuildOrder, ClusterOrder, ClusterPlugins, FileOffer, LibraryEvent, RolledBackBuild, ServeOrder,
    ServePhase,
};
use super::control::CommandRequest;
use super::jobs::{Content, Place, Why, refuse_all};
use super::trial::{Against, Serving, Trial};
use crate::routes::{Probation, ProbationResult, ProbationTerms};

/// The most offers and commands that wait for the cluster. Offers are bounded by the permits for reading files.
const WAITING_MAX: usize = 64;

/// The part of a library that only nodes of a cluster have.
pub(super) struct InCluster {
    news: mpsc::Sender<LibraryEvent>,
    pub(super) counted: Arc<Notify>,
    pub(super) terms: Arc<ArcSwap<ProbationTerms>>,
    loading: JoinSet<EndedLoad>,
    /// The loaded builds of each plugin, by generation.
    loaded: BTreeMap<String, BTreeMap<u32, Arc<Loaded>>>,
    /// Why the build of a plugin's file doesn't serve, until the file changes.
    remarks: BTreeMap<String, String>,
}

/// A load that has ended.
pub(super) struct EndedLoad {
    plugin: String,
    loaded: Result<Loaded>,
    likeness: Likeness,
    answer: oneshot::Sender<Result<BuildFacts, String>>,
}

impl InCluster {
    /// Waits for the next load to end. Never ready if there is none, or no cluster.
    pub(super) async fn ended(this: &mut Option<Self>) -> Result<EndedLoad, JoinError> {
        match this.as_mut().map(|this| &mut this.loading).filter(|loading| !loading.is_empty()) {
            Some(loading) => match loading.join_next().await {
                Some(ended) => ended,
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }
}

impl Library {
    /// Makes this the library of a node: it serves what the returned handle orders. Its own records of builds must be in memory only.
    pub fn enter_cluster(&mut self) -> ClusterPlugins {
        let (news, told) = mpsc::channel(WAITING_MAX);
        let (counted, terms) = (Arc::<Notify>::default(), Arc::new(ArcSwap::from_pointee(self.options.probation)));
        let plugins = ClusterPlugins {
            asked: self.control.asked(),
            news: told,
            counted: Arc::clone(&counted),
            terms: Arc::clone(&terms),
            statuses: Arc::clone(&self.statuses),
        };
        let (loading, loaded, remarks) = (JoinSet::new(), BTreeMap::new(), BTreeMap::new());
        self.cluster = Some(InCluster { news, counted, terms, loading, loaded, remarks });
        plugins
    }

    /// Reads the files for the first time, and does what it is ordered to, until `started` is ready: then it serves what the cluster serves.
    pub async fn start_in_cluster(&mut self, started: impl Future<Output = ()>) {
        self.is_starting = true;
        self.look();
        let mut started = std::pin::pin!(started);
        let mut is_scanned = false;
        loop {
            if !is_scanned && self.plugins.values().all(|entry| entry.job.is_none()) {
                is_scanned = self.tell_cluster(LibraryEvent::Scanned).is_ok();
            }
            tokio::select! {
                () = &mut started => break,
                Some(ended) = self.jobs.ended() => self.take(ended),
                ended = InCluster::ended(&mut self.cluster) => self.conclude_load(ended),
                Some(asked) = self.asked.recv() => self.handle(asked).await,
            }
        }
        self.is_starting = false;
        // A missing gatekeeper must close its mounts even if nothing was published.
        self.publish_as_it_is();
        self.log_missing();
    }

    fn tell_cluster(&self, news: LibraryEvent) -> Result<(), LibraryEvent> {
        let Some(cluster) = &self.cluster else { return Err(news) };
        cluster.news.try_send(news).map_err(mpsc::error::TrySendError::into_inner)
    }

    /// Passes a command on that the whole cluster has to follow.
    pub(super) fn pass_on(&self, CommandRequest { plugin, command, answer }: CommandRequest) {
        if let Err(LibraryEvent::Command { answer, .. }) =
            self.tell_cluster(LibraryEvent::Command { plugin, command, answer })
        {
            refuse_all(vec![answer], "too many commands wait");
        }
    }

    /// Offers the build of a file that was read.
    pub(super) fn offer(&mut self, name: &str, why: Why, content: Content, place: Place) {
        let Content { stamp, bytes, digest } = content;
        let entry = self.plugins.entry(name.to_owned()).or_default();
        (entry.seen, entry.is_doubtful) = (Some(stamp), !stamp.is_final());
        let is_known = entry.content.replace(digest) == Some(digest);
        let Some(job) = entry.job.take() else { return };
        self.statuses.update(name, |status| {
            status.is_loading = false;
            status.file = job.path.display().to_string();
        });
        if why == Why::Doubtful && is_known {
            return;
        }
        if let Some(cluster) = &mut self.cluster {
            cluster.remarks.remove(name);
        }
        let (plugin, is_asked, answers) = (name.to_owned(), why == Why::Asked, job.answers);
        let store = self.options.settings.store_of(name).map_err(|error| format!("{error:#}"));
        let offer = Box::new(FileOffer { plugin, digest, bytes, store, is_asked, answers, place });
        if let Err(LibraryEvent::Offer(offer)) = self.tell_cluster(LibraryEvent::Offer(offer)) {
            refuse_all(offer.answers, "too many builds wait to be rolled out");
            // The next scan reads it again.
            self.plugins.entry(name.to_owned()).or_default().seen = None;
        }
    }

    /// Does what the cluster orders.
    pub(super) fn follow(&mut self, order: ClusterOrder) {
        // Who has ordered it may have ended.
        match order {
            ClusterOrder::Load { build, answer } => self.begin_load(build, answer),
            ClusterOrder::Serve { plugin, order, answer } => drop(answer.send(self.serve(&plugin, &order))),
            ClusterOrder::Withdraw { plugin, why, answer } => {
                self.withdraw(&plugin, why);
                let _ = answer.send(());
            }
            ClusterOrder::Drop { plugin, generation } => {
                if let Some(loaded) = self.cluster.as_mut().and_then(|cluster| cluster.loaded.get_mut(&plugin)) {
                    loaded.remove(&generation);
                }
            }
            ClusterOrder::RememberGatekeepers { plugins, answer } => {
                self.remember_gatekeepers(&plugins);
                let _ = answer.send(());
            }
            ClusterOrder::ClearGatekeeper(plugin) => self.clear_gatekeeper(&plugin),
            ClusterOrder::OfferAgain(plugin) => self.read_again(&plugin),
            ClusterOrder::Forget(plugin) => self.forget_record(&plugin),
            ClusterOrder::Refuse { plugin, why } => {
                self.refuse(&plugin, &why);
                if let Some(cluster) = &mut self.cluster {
                    cluster.remarks.insert(plugin, why);
                }
            }
        }
    }

    fn begin_load(&mut self, build: BuildOrder, answer: oneshot::Sender<Result<BuildFacts, String>>) {
        let BuildOrder { plugin, generation, digest, bytes } = build;
        let origin = self.origin_in_cluster(&plugin, generation);
        let (loader, places) = (Arc::clone(&self.loader), self.jobs.places());
        let Some(cluster) = &mut self.cluster else { return };
        cluster.loading.spawn(async move {
            let load = async {
                let place = places.acquire_owned().await.context("waiting for a permit to load it")?;
                loader.load_holding(bytes.clone(), digest, origin?, place).await
            };
            let loaded = load.await;
            let is_loaded = loaded.is_ok();
            let likeness = spawn_blocking(move || if is_loaded { Likeness::Other } else { Likeness::of(&bytes) });
            EndedLoad { plugin, loaded, likeness: likeness.await.unwrap_or(Likeness::Unknown), answer }
        });
    }

    /// The origin of a generation. Only its calls may write the plugin's data while it serves.
    fn origin_in_cluster(&self, plugin: &str, generation: u32) -> Result<Arc<Origin>> {
        let origin = self.options.settings.origin(plugin, generation)?;
        let (usage, owner) = (self.statuses.usage(plugin), origin.owner.of_generation(generation));
        Ok(Arc::new(Origin { usage, owner, ..origin }))
    }

    /// Takes a load that has ended.
    pub(super) fn conclude_load(&mut self, ended: Result<EndedLoad, JoinError>) {
        let EndedLoad { plugin, loaded, likeness, answer } = match ended {
            Ok(load) => load,
            // Its answer is gone, so the order fails.
            Err(error) => return tracing::error!("a fault of the host: loading a plugin panicked: {error}"),
        };
        if loaded.is_err() {
            self.note_missing(&plugin, likeness);
        }
        let taken = loaded.and_then(|loaded| self.check_kind(&plugin, &loaded).map(|()| loaded));
        let facts = taken.map(|loaded| {
            let topics = loaded.routes.iter().map(|route| route.pattern.to_string()).collect();
            let facts = BuildFacts { topics, is_gatekeeper: loaded.anatomy.kind == Kind::Gatekeeper };
            if let Some(cluster) = &mut self.cluster {
                cluster.loaded.entry(plugin).or_default().insert(loaded.generation(), Arc::new(loaded));
            }
            facts
        });
        let _ = answer.send(facts.map_err(|error| format!("{error:#}")));
    }

    fn loaded(&self, plugin: &str, generation: u32) -> Option<Arc<Loaded>> {
        self.cluster.as_ref()?.loaded.get(plugin)?.get(&generation).cloned()
    }

    /// Lets a loaded generation serve with a phase. Returns its probation.
    fn serve(&mut self, plugin: &str, order: &ServeOrder) -> Result<Option<Arc<Probation>>, String> {
        let missing = || format!("the generation {} isn't loaded", order.generation);
        let loaded = self.loaded(plugin, order.generation).ok_or_else(missing)?;
        let before = self.plugins.get(plugin).and_then(|entry| entry.serving.clone());
        let trial = self.trial_in_cluster(order, plugin, before.as_ref());
        let is_same = before.as_ref().is_some_and(|before| before.loaded.generation() == order.generation);
        match before.and_then(|before| before.trial) {
            Some(open) if is_same && trial.is_none() => {
                self.prove(plugin, &open);
                return Ok(None);
            }
            Some(open) => self.end_open(plugin, &open, order.ends),
            None => {}
        }
        self.statuses.update(plugin, |status| status.is_unloaded = false);
        let entry = self.plugins.entry(plugin.to_owned()).or_default();
        entry.is_unloaded = false;
        if !is_same {
            let remark = self.cluster.as_ref().and_then(|cluster| cluster.remarks.get(plugin).cloned());
            entry.candidate = Some(Serving { loaded, trial, remark });
            // Two plugins that exchange topics are published together.
            let is_starting = std::mem::take(&mut self.is_starting);
            self.publish_candidates();
            self.is_starting = is_starting;
        }
        if let Some(waiting) = self.conflict_of(plugin) {
            return Err(waiting.to_string());
        }
        self.note_rollback(plugin, order);
        let serving = self.plugins.get(plugin).and_then(|entry| entry.serving.as_ref());
        Ok(serving.and_then(|serving| serving.trial.as_ref()).map(|trial| Arc::clone(&trial.probation)))
    }

    /// The trial of a generation in the cluster. A build that comes during a probation continues it.
    fn trial_in_cluster(&self, order: &ServeOrder, plugin: &str, before: Option<&Serving>) -> Option<Trial> {
        match &order.phase {
            ServePhase::Passed => None,
            ServePhase::Unproved => {
                let probation = Probation::without_rollback(Arc::clone(&self.news));
                Some(Trial { probation, against: Against::Nothing })
            }
            ServePhase::OnProbation { id, against, against_digest, terms } => {
                let id = u64::from(*id);
                let open = before.and_then(|before| before.trial.as_ref()).map(|trial| &trial.probation);
                let open = open.filter(|open| open.id() == Some(id)).cloned();
                let probation = open.unwrap_or_else(|| Probation::resumed(id, *terms, Arc::clone(&self.news)));
                let against = match self.loaded(plugin, *against) {
                    Some(loaded) => Against::Build(loaded),
                    None => Against::Lost(against_digest.clone()),
                };
                Some(Trial { probation, against })
            }
        }
    }

    /// Ends the probation that was open here, if it has ended.
    fn end_open(&mut self, plugin: &str, open: &Trial, ends: Option<bool>) {
        let ends = ends.filter(|_| open.probation.can_roll_back() && open.probation.is_open());
        let Some(is_rolled_back) = ends else { return };
        open.probation.end(if is_rolled_back { ProbationResult::RolledBack } else { ProbationResult::Passed });
        self.past.entry(plugin.into()).or_default().push(Arc::clone(&open.probation));
    }

    /// Shows that a build was rolled back, and has states return to their earlier versions.
    fn note_rollback(&mut self, plugin: &str, order: &ServeOrder) {
        if order.ends.is_some() {
            self.routes.notify_probation_end();
        }
        self.statuses.update(plugin, |status| {
            status.is_rolled_back = order.is_rollback;
            status.loads.rolled_back += u64::from(order.is_rollback);
        });
        let Some(RolledBackBuild { generation, digest, faults, at_ms }) = order.rolled_back.clone() else { return };
        let instead = order.generation;
        tracing::error!(
            plugin,
            generation,
            faults,
            "plugin_taken_back: it failed on calls that generation {instead} answers, at all nodes together; generation {instead} \
             serves again"
        );
        let past = self.past.get(plugin).and_then(|past| past.last()).cloned();
        let ended = past.unwrap_or_else(|| Probation::without_rollback(Arc::clone(&self.news)));
        self.statuses.update(plugin, |status| {
            status.taken_back = Some(RolledBack::new(generation, digest, at_ms, faults, ended));
            status.loads.taken_back += 1;
        });
    }

    /// Ends the service of a plugin here. With a reason, the cluster serves a build that can't be loaded here.
    fn withdraw(&mut self, plugin: &str, why: Option<String>) {
        let open = self.plugins.get(plugin).and_then(|entry| entry.serving.as_ref()?.trial.clone());
        if let Some(open) = open {
            self.end_open(plugin, &open, Some(false));
        }
        if self.unload(plugin).is_err() {
            return;
        }
        if let Some(entry) = self.plugins.get_mut(plugin) {
            (entry.recalled, entry.is_unloaded) = (None, why.is_none());
        }
        self.statuses.update(plugin, |status| status.is_unloaded = why.is_none());
        if let Some(why) = why {
            self.refuse(plugin, &format!("the cluster serves a build that this node can't load: {why}"));
        }
    }

    fn remember_gatekeepers(&mut self, plugins: &[String]) {
        for name in plugins {
            let entry = self.plugins.entry(name.clone()).or_default();
            entry.is_missed = entry.serving.is_none();
            self.statuses.update(name, |status| status.kind = Kind::Gatekeeper.as_str());
        }
        self.kinds.remember(plugins.iter().map(|name| (name.as_str(), Kind::Gatekeeper)));
        self.publish_as_it_is();
    }

    /// Notes that a plugin isn't a gatekeeper that counted as one, and that doesn't serve here.
    fn clear_gatekeeper(&mut self, plugin: &str) {
        self.kinds.forget(plugin);
        let Some(entry) = self.plugins.get_mut(plugin) else { return };
        entry.is_missed = false;
        self.statuses.update(plugin, |status| status.kind = Kind::Plugin.as_str());
        self.publish_as_it_is();
    }

    /// Lets the next scan, which follows each order, read a plugin's file although it is unchanged. Until then the refusal isn't shown.
    fn read_again(&mut self, plugin: &str) {
        let Some(entry) = self.plugins.get_mut(plugin) else { return };
        entry.seen = None;
        let remark = self.cluster.as_mut().and_then(|cluster| cluster.remarks.remove(plugin));
        self.statuses.update(plugin, |status| {
            if status.last_error == remark {
                status.last_error = None;
            }
        });
    }

    /// Forgets a plugin that the cluster has forgotten.
    fn forget_record(&mut self, plugin: &str) {
        self.kinds.forget(plugin);
        if let Some(cluster) = &mut self.cluster {
            cluster.loaded.remove(plugin);
            cluster.remarks.remove(plugin);
        }
        self.plugins.remove(plugin);
        self.statuses.remove(plugin);
        self.publish_as_it_is();
        tracing::info!(plugin, "plugin_forgotten");
    }
}
