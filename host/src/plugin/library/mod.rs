//! The library: one task that owns all plugins.
//!
//! Whenever something may have changed, the sources are scanned, and what is new or different is loaded, in tasks. Each that ends
//! gives its result to the library, which publishes a new table of routes. Whatever goes wrong leaves in place what runs.

mod commands;
mod control;
mod gatekeepers;
mod jobs;
mod recall;
mod settings;
mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::builds::Rejection;
use super::loader::{Loaded, Loader};
use super::scan::{Found, Look, Stamp, scan};
use super::status::{PluginPhase, PluginStatuses};
use super::watcher::Watcher;
use super::{Builds, Digest, Kinds, Source};
use crate::contract::system_now_ms;
use crate::routes::{Conflict, Probation, ProbationTerms, RouteTable, Routes};

use control::CommandRequest;
pub use control::{Command, CommandError, Control};
use jobs::{Job, Jobs, Why};
use recall::past_of;
pub use settings::{PluginSettings, Settings};
use trial::{Serving, Trial};

/// What a library goes by.
#[derive(Debug, Default)]
pub struct LibraryOptions {
    /// What the configuration says of plugins.
    pub settings: Settings,
    /// How new generations prove themselves.
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
    /// Candidates that are new: if they can't be published, the log doesn't say so yet.
    fresh: BTreeSet<String>,
    /// Whether the sources are being looked through for the first time.
    is_starting: bool,
    /// Files that aren't served since another has their name; said once.
    doubles: BTreeSet<PathBuf>,
    control: Control,
    asked: mpsc::Receiver<CommandRequest>,
    /// Told where a probation may have an end.
    news: Arc<Notify>,
    /// Told when the host stops.
    ending: Arc<Notify>,
    /// By plugins, probations that have ended and may still hold bytes of stored states.
    past: BTreeMap<Arc<str>, Vec<Arc<Probation>>>,
    /// Whether a mount's configuration leaves its gatekeeper unnamed, so that there may be one at most.
    one_gatekeeper: bool,
}

/// What is known of one plugin.
#[derive(Default)]
struct PluginState {
    /// How its file was when it was last looked at.
    seen: Option<Stamp>,
    /// Whether the file may have changed since it was read, and have the same stamp.
    is_doubtful: bool,
    /// What the file held when it was last read.
    content: Option<Digest>,
    /// The load that is under way.
    job: Option<Job>,
    /// What serves.
    serving: Option<Serving>,
    /// What was loaded and has not been published, since its topics are another plugin's. It is tried again whenever
    /// another plugin changes.
    candidate: Option<Serving>,
    /// What served before, for a rollback.
    previous: Option<Arc<Loaded>>,
    /// While nothing serves: the probation that the next build is on, from before the host's start or an unloading.
    recalled: Option<Trial>,
    /// Whether what serves was gone back to, and there is nothing before it.
    has_gone_back: bool,
    /// Whether an operator has unloaded it.
    is_unloaded: bool,
    /// Whether it was a gatekeeper or may be one. While nothing of it serves, mounts that it may guard let nobody in.
    is_missed: bool,
    /// How many loads have succeeded.
    generation: u32,
}

impl Library {
    /// A library of these sources that publishes into `routes` and says on `shelf` how things are.
    #[must_use]
    pub fn new(
        loader: Loader,
        sources: Vec<Source>,
        options: LibraryOptions,
        builds: Builds,
        (routes, statuses): (Arc<RouteTable>, Arc<PluginStatuses>),
    ) -> Self {
        let (control, asked) = Control::new();
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
            news,
            ending: Arc::default(),
            past,
            one_gatekeeper: false,
        }
    }

    /// What operators ask it by. It answers while it [watches](Self::watch).
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// What to tell so that it [watches](Self::watch) no more, once it has written down what has come of probations by then.
    #[must_use]
    pub fn ending(&self) -> Arc<Notify> {
        Arc::clone(&self.ending)
    }

    /// Has it complain where there is more than one gatekeeper, since a mount relies on there being only one.
    pub fn expect_one_gatekeeper(&mut self) {
        self.one_gatekeeper = true;
    }

    /// Looks through the sources for the first time, and returns when every file was loaded or refused. All candidates are published
    /// together, so which of two plugins gets a topic that both want doesn't depend on which is compiled first.
    pub async fn start(&mut self) {
        self.is_starting = true;
        self.look();
        while let Some(ended) = self.jobs.ended().await {
            self.take(ended);
        }
        self.is_starting = false;
        self.publish_candidates();
        self.refuse_candidates();
        // A gatekeeper that is missed shuts its mounts also where nothing was published.
        self.publish_as_it_is();
        self.log_missing();
    }

    /// Begins to load what is new or has changed.
    fn look(&mut self) {
        let found = scan(&self.sources);
        let at = Instant::now();
        self.note_vanished(&found);
        self.note_doubles(&found);
        if self.is_starting {
            self.say_absent(&found);
        }
        for (name, (path, stamp)) in found.plugins {
            let store = self.options.settings.store_of(&name).ok();
            self.statuses.update(&name, |status| status.store = store);
            let entry = self.plugins.entry(name.clone()).or_default();
            // What is being read is read again if it changes meanwhile.
            if entry.is_unloaded || entry.job.as_ref().is_some_and(|job| job.is_reading) {
                continue;
            }
            let is_changed = entry.seen.replace(stamp) != Some(stamp);
            let is_due = entry.is_doubtful && entry.job.is_none() && stamp.is_final();
            let why = if is_changed { Why::Changed } else { Why::Doubtful };
            if is_changed || is_due {
                self.begin(&name, &path, Some(Look { stamp, at }), why, None);
            }
        }
    }

    /// Looks whenever something may have changed, until it is told to [end](Self::ending).
    pub async fn watch(mut self) {
        let mut watcher = Watcher::new(&self.sources);
        loop {
            // What has answered calls by now is proved, before another build takes its place.
            self.review();
            // First of all for what changed before the watch began.
            self.look();
            self.review();
            let (news, ending) = (Arc::clone(&self.news), Arc::clone(&self.ending));
            let look = Arc::clone(&self.control.look);
            // Waiting may be broken off and begun anew without a change being missed.
            tokio::select! {
                () = watcher.changed() => {}
                () = news.notified() => {}
                () = ending.notified() => return self.review(),
                () = look.notified() => self.forget_stamps(),
                Some(ended) = self.jobs.ended() => {
                    self.review();
                    self.take(ended);
                }
                Some(asked) = self.asked.recv() => self.run(asked),
            }
        }
    }

    /// Forgets how the files looked, so that the next look reads them all.
    fn forget_stamps(&mut self) {
        // First what has vanished is noticed, by the stamps.
        self.look();
        self.plugins.values_mut().for_each(|entry| entry.seen = None);
    }

    /// A vanished file is no wish to unload: it may be a build tool's way of writing.
    fn note_vanished(&mut self, found: &Found) {
        for (name, entry) in &mut self.plugins {
            let is_gone = !found.plugins.contains_key(name);
            if is_gone && entry.seen.take().is_some() {
                (entry.candidate, entry.content, entry.is_doubtful) = (None, None, false);
                let is_served = entry.serving.is_some();
                let what_now = if is_served { "the last good generation goes on serving" } else { "it is not served" };
                tracing::warn!(plugin = name, "plugin_file_gone: {what_now}");
            }
            self.statuses.update(name, |status| status.file_is_gone = is_gone);
        }
    }

    fn note_doubles(&mut self, found: &Found) {
        for path in &found.doubles {
            if self.doubles.insert(path.clone()) {
                tracing::warn!("{} is not served: another file has its name, which is the plugin's", path.display());
            }
        }
    }

    /// Publishes anew what serves, with the guards as they are.
    fn publish_as_it_is(&self) {
        if let Ok(table) = self.table_with(&[]) {
            self.routes.publish(table);
        }
    }

    /// Publishes as many candidates as get on with the others: all at once, as when two plugins exchange topics, or each
    /// that can alone. During the start they wait for one another.
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

    /// The routes of all that serves, with the candidates of these names in place of what serves under them.
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

    /// Publishes the candidates of these names, which get on with the others.
    fn publish(&mut self, names: &[String]) {
        names.iter().for_each(|name| self.note_candidate(name));
        let Ok(table) = self.table_with(names) else { return };
        if self.one_gatekeeper && table.gatekeepers().names().count() > 1 {
            let names: Vec<&str> = table.gatekeepers().names().map(|name| &**name).collect();
            tracing::error!(
                "there are several gatekeepers ({}), so the mounts that name none let nobody in; set `gatekeeper` of each, or say \
                 with `bennu plugins forget NAME` which is gone for good",
                names.join(", ")
            );
        }
        for name in names {
            let candidate = self.plugins.get(name).and_then(|entry| entry.candidate.as_ref());
            // Before it serves: if the host ends in between, the next start knows that there is a gatekeeper.
            if let Some(candidate) = candidate {
                self.kinds.remember(name, candidate.loaded.anatomy.kind);
            }
        }
        self.routes.publish(table);
        for name in names {
            let entry = self.plugins.entry(name.clone()).or_default();
            let before = std::mem::replace(&mut entry.serving, entry.candidate.take());
            let is_first = before.is_none();
            entry.previous = before.map(|before| before.loaded);
            (entry.recalled, entry.has_gone_back) = (None, false);
            if let Some(serving) = &entry.serving {
                entry.generation = entry.generation.max(serving.loaded.generation());
                // It serves, so it isn't missed any more.
                entry.is_missed = false;
                announce(name, serving, is_first, &self.statuses);
            }
        }
        self.prune_builds();
    }

    /// Says why fresh candidates couldn't be published. A candidate isn't refused yet while the plugin that has its topics is being
    /// loaded: the new build may let go of them, as where two plugins exchange topics.
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

    /// What keeps a candidate from being published, if there is one.
    fn conflict_of(&self, name: &str) -> Option<Conflict> {
        let is_waiting = self.plugins.get(name).is_some_and(|entry| entry.candidate.is_some());
        is_waiting.then(|| self.table_with(&[name.to_owned()]).err()).flatten()
    }

    fn refuse(&self, name: &str, why: &str) {
        let keeps = self.plugins.get(name).is_some_and(|entry| entry.serving.is_some());
        let what_now = if keeps { "the running generation goes on" } else { "it is not served" };
        let file = self.statuses.one(name).unwrap_or_default().file;
        tracing::error!(plugin = name, "plugin_refused: {file}: {why} ({what_now}{})", self.consequence(name));
        self.statuses.update(name, |status| status.last_error = Some(why.to_owned()));
    }
}

fn announce(name: &str, serving: &Serving, is_first: bool, statuses: &PluginStatuses) {
    let loaded = &serving.loaded;
    if let Some(trial) = &serving.trial {
        // If it was on already, for the generation before, it begins anew.
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
        tracing::info!(plugin = name, generation, "plugin_on_probation: another build was proved last");
    }
    statuses.update(name, |status| {
        status.generation = generation;
        status.kind = kind;
        status.is_rolled_back = false;
        status.topics = topics;
        status.contract = loaded.anatomy.version.to_string();
        status.digest = loaded.digest.to_string();
        status.bytes = loaded.size;
        status.loaded_at_ms = system_now_ms();
        status.last_error.clone_from(&serving.remark);
        status.standing = standing;
        status.probation = probation;
    });
}
