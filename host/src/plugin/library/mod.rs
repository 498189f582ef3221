//! The library: one task that owns all plugins.
//!
//! Whenever a file may have changed, the library scans the sources, and loads each new or changed file in a task.
//! Each task returns its result to the library, which publishes a new route table. After any failure, the running
//! generations continue to serve.

mod cluster_orders;
mod commands;
mod control;
mod gatekeepers;
mod in_cluster;
mod jobs;
mod recall;
mod settings;
mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::builds::Rejection;
use super::loader::{Loaded, Loader};
use super::scan::{Found, Stamp, TimedStamp, scan};
use super::status::{PluginPhase, PluginStatuses};
use super::watcher::Watcher;
use super::{Builds, Digest, Kinds, Source};
use crate::contract::system_now_ms;
use crate::counts::Limit;
use crate::routes::{Conflict, Probation, ProbationTerms, RouteTable, Routes};

pub use cluster_orders::{
    BuildFacts, BuildLoader, ClusterPlugins, CommandAnswer, FileOffer, LibraryEvent, RolledBackBuild, ServeOrder,
    ServePhase,
};
use control::Asked;
pub use control::{Command, CommandError, Control, LibraryConfig, LibraryPause};
use in_cluster::InCluster;
use jobs::{Job, Jobs, Why};
use recall::past_of;
pub use settings::{PluginSettings, Settings};
use trial::{Serving, Trial};

/// The options of a library.
#[derive(Debug, Default)]
pub struct LibraryOptions {
    /// The plugins' configuration.
    pub settings: Settings,
    /// The length of a probation, and the faults that it tolerates.
    pub probation: ProbationTerms,
}

/// All plugins of a host.
pub struct Library {
    loader: Arc<Loader>,
    sources: Vec<Source>,
    options: LibraryOptions,
    builds: Builds,
    kinds: Kinds,
    routes: Arc<RouteTable>,
    statuses: Arc<PluginStatuses>,
    plugins: BTreeMap<String, PluginState>,
    jobs: Jobs,
    /// The candidates whose conflict with other plugins, if there is one, hasn't been logged yet.
    fresh: BTreeSet<String>,
    /// Whether the first scan of the sources is still being loaded.
    is_starting: bool,
    /// Files that aren't served because another file has the same plugin name. Each is logged once.
    doubles: BTreeSet<PathBuf>,
    control: Control,
    asked: mpsc::Receiver<Asked>,
    /// Questions of the self-test whether this task still runs.
    probes: mpsc::Receiver<oneshot::Sender<()>>,
    /// Notified when a probation may be over.
    news: Arc<Notify>,
    /// Notified when the host stops.
    ending: Arc<Notify>,
    /// The ended probations of each plugin whose id may still be in stored states.
    past: BTreeMap<Arc<str>, Vec<Arc<Probation>>>,
    /// Whether a mount relies on there being only one gatekeeper, because its configuration sets no authentication.
    one_gatekeeper: bool,
    /// Of a node of a cluster.
    cluster: Option<InCluster>,
}

/// The state of one plugin.
///
/// Some fields depend on one another. These tables list the combinations that occur; "any" includes none.
///
/// The generation that serves:
///
/// | `serving` | `previous` | `recalled` | `has_gone_back` | meaning |
/// | --- | --- | --- | --- | --- |
/// | none | none | none | any, without effect | nothing serves: no build could be published yet, or the plugin is unloaded |
/// | none | none | set | any, without effect | the same; the next build is on the probation in `recalled` |
/// | set | none | none | false | the first generation since the host's start or since an unloading |
/// | set | set | none | false | this generation has replaced `previous` |
/// | set | none | none | true | a rollback has restored this generation; a further rollback is refused |
///
/// The probation of that generation, in `serving`:
///
/// | `trial` | meaning | target of a rollback |
/// | --- | --- | --- |
/// | none | it has passed, or it is a gatekeeper | `previous`, or else the earlier build on the disk |
/// | [`Against::Nothing`](trial::Against) | it is unproved | the same |
/// | [`Against::Build`](trial::Against) | it is on probation | that build, even if `previous` is another one |
/// | [`Against::Lost`](trial::Against) | it is on probation | none: the earlier build can't be loaded |
///
/// A `candidate` is independent of these fields, except that an unloaded plugin has none. While a candidate waits,
/// the generation in `serving` continues to serve.
///
/// The file and the load of it:
///
/// | `job` | `seen` | `content` | meaning |
/// | --- | --- | --- | --- |
/// | none | none | any | there is no file, or the next scan reads it even if it is unchanged |
/// | none | set | none | no content was read: reading has failed, or the load was given up |
/// | none | set | set | `content` was read last; with `is_doubtful`, the file is read again once its stamp is final |
/// | set, `is_reading` | any | any | the file is being read; a change meanwhile belongs to this load |
/// | set, `Why::RollBack` | any | any | a kept build is being loaded for a rollback; `serving` is set |
/// | set, otherwise | any | any | the content, or the build that serves instead of it, is being compiled and described |
///
/// The flags:
///
/// | flag | `serving` | meaning |
/// | --- | --- | --- |
/// | `is_unloaded` | none | `job`, `candidate` and `previous` are none too; scans ignore the file until a reload |
/// | `is_missed` | none | mounts that need this gatekeeper let nobody in |
/// | `is_missed` | set | without effect until nothing serves |
#[derive(Default)]
struct PluginState {
    /// The file's stamp at the last scan or read.
    seen: Option<Stamp>,
    /// Whether the file may have changed since it was read without getting another stamp.
    is_doubtful: bool,
    /// The digest of the file's content when it was last read.
    content: Option<Digest>,
    /// The running load.
    job: Option<Job>,
    /// The generation that serves.
    serving: Option<Serving>,
    /// A loaded build that isn't published yet, because another plugin serves its topics or the host is starting. The
    /// library tries again whenever another plugin changes.
    candidate: Option<Serving>,
    /// The generation that served before, for a rollback.
    previous: Option<Arc<Loaded>>,
    /// While nothing serves: the probation of the next build. It comes from an earlier start of the host, or from an
    /// unloading during a probation.
    recalled: Option<Trial>,
    /// Whether a rollback has restored the serving generation, so that no earlier one is known.
    has_gone_back: bool,
    /// Whether an operator has unloaded the plugin.
    is_unloaded: bool,
    /// Whether the plugin was, or may have been, a gatekeeper. While no generation of it serves, mounts that may
    /// depend on it let nobody in.
    is_missed: bool,
    /// The highest generation number that was published or recalled; 0 before the first one.
    generation: u32,
}

impl Library {
    /// Creates a library of these sources. It publishes into `routes`, and reports in `statuses`.
    #[must_use]
    pub fn new(
        loader: Loader,
        sources: Vec<Source>,
        options: LibraryOptions,
        builds: Builds,
        (routes, statuses): (Arc<RouteTable>, Arc<PluginStatuses>),
    ) -> Self {
        let (control, asked, probes) = Control::new();
        let news = Arc::<Notify>::default();
        let past = past_of(&builds, &news);
        Self {
            loader: Arc::new(loader),
            sources,
            options,
            builds,
            kinds: Kinds::default(),
            routes,
            statuses,
            plugins: BTreeMap::new(),
            jobs: Jobs::default(),
            fresh: BTreeSet::new(),
            is_starting: false,
            doubles: BTreeSet::new(),
            control,
            asked,
            probes,
            news,
            ending: Arc::default(),
            past,
            one_gatekeeper: false,
            cluster: None,
        }
    }

    /// Returns the handle by which operators send commands. The library answers while it [watches](Self::watch).
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Returns the notification that ends [`watch`](Self::watch). Before it ends, the library records the results of
    /// probations that are over.
    #[must_use]
    pub fn ending(&self) -> Arc<Notify> {
        Arc::clone(&self.ending)
    }

    /// Makes the library log an error if there are several gatekeepers, because a mount relies on there being only
    /// one.
    pub fn expect_one_gatekeeper(&mut self) {
        self.one_gatekeeper = true;
    }

    /// Scans the sources for the first time, and returns when every file was loaded or refused. All candidates are
    /// published together. So if two plugins want the same topic, the result doesn't depend on which one is compiled
    /// first.
    pub async fn start(&mut self) {
        self.is_starting = true;
        self.look();
        while let Some(ended) = self.jobs.ended().await {
            self.take(ended);
        }
        self.is_starting = false;
        self.publish_candidates();
        self.refuse_candidates();
        // A missing gatekeeper must close its mounts even if nothing was published.
        self.publish_as_it_is();
        self.log_missing();
    }

    /// Scans the sources, and begins to load each new or changed file.
    fn look(&mut self) {
        let found = scan(&self.sources);
        let at = Instant::now();
        self.note_vanished(&found);
        self.note_doubles(&found);
        if self.is_starting {
            self.log_absent(&found);
        }
        for (name, (path, stamp)) in found.plugins {
            let store = self.options.settings.store_of(&name).ok();
            self.statuses.update(&name, |status| status.store = store);
            let entry = self.plugins.entry(name.clone()).or_default();
            // If a file changes while it is being read, it is read again by the same load.
            if entry.is_unloaded || entry.job.as_ref().is_some_and(|job| job.is_reading) {
                continue;
            }
            let is_changed = entry.seen.replace(stamp) != Some(stamp);
            let is_due = entry.is_doubtful && entry.job.is_none() && stamp.is_final();
            let why = if is_changed { Why::Changed } else { Why::Doubtful };
            if is_changed || is_due {
                self.begin(&name, &path, Some(TimedStamp { stamp, at }), why, None);
            }
        }
    }

    /// Scans the sources whenever something may have changed, until it is notified to [end](Self::ending).
    pub async fn watch(mut self) {
        let mut watcher = Watcher::new(&self.sources);
        loop {
            // Ends probations that are over, before another build replaces theirs.
            self.review();
            // The first scan also finds what changed before the watcher started.
            self.look();
            self.review();
            let (news, ending) = (Arc::clone(&self.news), Arc::clone(&self.ending));
            let look = Arc::clone(&self.control.look);
            // Each of these futures can be dropped and created again without missing a change.
            tokio::select! {
                // No scan of the files follows.
                () = answer_probes(&mut self.probes) => return,
                () = watcher.changed() => {}
                () = news.notified() => {}
                () = ending.notified() => return self.review(),
                () = look.notified() => self.forget_stamps(),
                Some(ended) = self.jobs.ended() => {
                    self.review();
                    self.take(ended);
                }
                ended = InCluster::ended(&mut self.cluster) => self.conclude_load(ended),
                Some(asked) = self.asked.recv() => self.handle(asked).await,
            }
        }
    }

    /// Removes the stamps of all files, so that the next scan reads them all.
    fn forget_stamps(&mut self) {
        // A scan comes first, because a vanished file is detected by its stamp.
        self.look();
        self.plugins.values_mut().for_each(|entry| entry.seen = None);
    }

    /// Logs vanished files. A vanished file doesn't unload the plugin: a build tool may be replacing it.
    fn note_vanished(&mut self, found: &Found) {
        for (name, entry) in &mut self.plugins {
            let is_gone = !found.plugins.contains_key(name);
            if is_gone && entry.seen.take().is_some() {
                (entry.candidate, entry.content, entry.is_doubtful) = (None, None, false);
                let is_served = entry.serving.is_some();
                let what_now =
                    if is_served { "the last good generation continues to serve" } else { "it is not served" };
                tracing::warn!(plugin = name, "plugin_file_gone: {what_now}");
            }
            // The builds of a cluster aren't in files.
            self.statuses.update(name, |status| status.file_is_gone = is_gone && self.cluster.is_none());
        }
    }

    fn note_doubles(&mut self, found: &Found) {
        for path in &found.doubles {
            if self.doubles.insert(path.clone()) {
                tracing::warn!("{} is not served: another file has the same plugin name", path.display());
            }
        }
    }

    /// Publishes the serving generations again, with the current gatekeepers.
    fn publish_as_it_is(&self) {
        if let Ok(table) = self.table_with(&[]) {
            self.routes.publish(table);
        }
    }

    /// Publishes the candidates that don't conflict with other plugins. It tries all of them together, because two
    /// plugins may exchange topics. If they conflict, it tries each alone. During the start, candidates wait for one
    /// another.
    fn publish_candidates(&mut self) {
        if self.is_starting {
            return;
        }
        loop {
            let waiting = self.plugins.iter().filter(|(_, entry)| entry.candidate.is_some());
            let waiting: Vec<String> = waiting.map(|(name, _)| name.clone()).collect();
            if waiting.is_empty() {
                return;
            }
            if self.table_with(&waiting).is_ok() {
                return self.publish(&waiting);
            }
            let alone = waiting.into_iter().map(|name| [name]).find(|names| self.table_with(names).is_ok());
            let Some(names) = alone else { return };
            self.publish(&names);
        }
    }

    /// Builds the route table. The candidates with these names replace the generations that serve under these names.
    ///
    /// # Errors
    /// Returns the conflict if two plugins serve the same topics.
    fn table_with(&self, names: &[String]) -> Result<Routes, Conflict> {
        let (changed, others): (Vec<_>, Vec<_>) = self.plugins.iter().partition(|(name, _)| names.contains(name));
        let others = others.into_iter().filter_map(|(_, entry)| entry.serving.as_ref());
        let candidates = changed.into_iter().filter_map(|(_, entry)| entry.candidate.as_ref());
        let serving: Vec<&Serving> = others.chain(candidates).collect();
        let gatekeepers = self.gatekeepers(serving.iter().copied());
        Ok(Routes::new(serving.into_iter().flat_map(Serving::table))?
            .with_gatekeepers(gatekeepers)
            .with_past_probations(self.past()))
    }

    /// Publishes the candidates with these names. They don't conflict with other plugins.
    fn publish(&mut self, names: &[String]) {
        // Each write waits for the disk, so the records of all candidates are written together.
        self.builds.hold();
        names.iter().for_each(|name| self.note_candidate(name));
        self.builds.release();
        let Ok(table) = self.table_with(names) else { return };
        if self.one_gatekeeper && table.gatekeepers().names().count() > 1 {
            let names: Vec<&str> = table.gatekeepers().names().map(|name| &**name).collect();
            tracing::error!(
                "there are several gatekeepers ({}), so the mounts that name none let nobody in; set `gatekeeper` of each \
                 mount, or run `bennu plugins forget NAME` for each one that is gone for good",
                names.join(", ")
            );
        }
        // The kinds are recorded before the candidates serve. If the host ends in between, the next start knows of a
        // gatekeeper.
        let kind = |name: &String| Some(self.plugins.get(name)?.candidate.as_ref()?.loaded.anatomy.kind);
        self.kinds.remember(names.iter().filter_map(|name| Some((name.as_str(), kind(name)?))));
        self.routes.publish(table);
        for name in names {
            let entry = self.plugins.entry(name.clone()).or_default();
            let before = std::mem::replace(&mut entry.serving, entry.candidate.take());
            let is_first = before.is_none();
            entry.previous = before.map(|before| before.loaded);
            (entry.recalled, entry.has_gone_back) = (None, false);
            if let Some(serving) = &entry.serving {
                entry.generation = entry.generation.max(serving.loaded.generation());
                // The plugin serves, so it isn't a missing gatekeeper.
                entry.is_missed = false;
                announce(name, serving, is_first, &self.statuses);
            }
        }
        self.prune_builds();
    }

    /// Logs why new candidates couldn't be published. A candidate isn't refused while the plugin that serves its
    /// topics is being loaded: the new build of that plugin may release the topics, for example if two plugins
    /// exchange topics.
    fn refuse_candidates(&mut self) {
        if self.is_starting {
            return;
        }
        for name in std::mem::take(&mut self.fresh) {
            let Some(conflict) = self.conflict_of(&name) else { continue };
            if self.plugins.get(&*conflict.owner).is_some_and(|owner| owner.job.is_some()) {
                self.fresh.insert(name);
            } else {
                self.refuse(&name, &conflict.to_string());
            }
        }
    }

    /// Returns the conflict that keeps a candidate from being published, if there is one.
    fn conflict_of(&self, name: &str) -> Option<Conflict> {
        let is_waiting = self.plugins.get(name).is_some_and(|entry| entry.candidate.is_some());
        is_waiting.then(|| self.table_with(&[name.to_owned()]).err()).flatten()
    }

    fn refuse(&self, name: &str, why: &str) {
        // Such as that of the CPU time in which a script is evaluated.
        Limit::hit_named(why);
        let keeps = self.plugins.get(name).is_some_and(|entry| entry.serving.is_some());
        let what_now = if keeps { "the running generation continues to serve" } else { "it is not served" };
        let file = self.statuses.one(name).unwrap_or_default().file;
        tracing::error!(plugin = name, "plugin_refused: {file}: {why} ({what_now}{})", self.consequence(name));
        self.statuses.update(name, |status| {
            status.last_error = Some(why.to_owned());
            status.loads.refused += 1;
        });
    }
}

/// Answers each probe of the self-test. It never ends, because the library itself has a sender of probes.
async fn answer_probes(probes: &mut mpsc::Receiver<oneshot::Sender<()>>) {
    while let Some(probe) = probes.recv().await {
        // Whoever asked may have stopped waiting.
        let _ = probe.send(());
    }
}

fn announce(name: &str, serving: &Serving, is_first: bool, statuses: &PluginStatuses) {
    let loaded = &serving.loaded;
    if let Some(trial) = &serving.trial {
        // If the probation has begun for an earlier build, its time and counts start again.
        trial.probation.restart();
    }
    let (standing, probation) = serving.phase();
    let (generation, kind) = (loaded.generation(), loaded.anatomy.kind.as_str());
    let topics: Vec<String> = loaded.routes.iter().map(|route| route.pattern.to_string()).collect();
    tracing::info!(
        plugin = name,
        generation,
        topics = topics.join(" "),
        compiling_ms = u64::try_from(loaded.compiling.as_millis()).unwrap_or(u64::MAX),
        cached = loaded.was_cached,
        "{}",
        if is_first { "plugin_loaded" } else { "plugin_reloaded" }
    );
    if is_first && standing == Some(PluginPhase::OnProbation) {
        tracing::info!(plugin = name, generation, "plugin_on_probation: the build that passed last is another one");
    }
    statuses.update(name, |status| {
        status.loads.published += 1;
        status.generation = generation;
        status.kind = kind;
        status.is_rolled_back = false;
        status.topics = topics;
        status.contract = loaded.anatomy.version.to_string();
        status.tools = loaded.tools.clone();
        status.digest = loaded.digest.to_string();
        status.bytes = loaded.size;
        status.loaded_at_ms = system_now_ms();
        status.last_error.clone_from(&serving.remark);
        status.standing = standing;
        status.probation = probation;
    });
}
