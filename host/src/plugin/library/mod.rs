//! The library: one task that owns all loading.
//!
//! Whenever something may have changed, the sources are scanned, what is new or different is loaded, one plugin at a time,
//! and a new table of routes is published. Whatever goes wrong leaves in place what runs.

mod control;
mod recall;
mod settings;
mod trial;
mod wishes;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::builds::Rejection;

use super::loader::{Loaded, Loader};
use super::scan::{Found, Look, Stamp, read_settled, scan};
use super::status::{Shelf, Standing};
use super::watcher::Watcher;
use super::{Anatomy, Builds, Digest, Source};
use crate::contract::system_now_ms;
use crate::routes::{Conflict, Guard, Guards, Probation, ProbationTerms, RouteTable, Routes};

use control::Asked;
pub use control::{Control, Denied, Wish};
use recall::past_of;
pub use settings::{PluginSettings, Settings};
use trial::{Serving, Trial};

/// What a library goes by.
#[derive(Debug, Default)]
pub struct Terms {
    /// What the configuration says of plugins.
    pub settings: Settings,
    /// How new generations prove themselves.
    pub probation: ProbationTerms,
}

/// All plugins of a host.
pub struct Library {
    loader: Loader,
    sources: Vec<Source>,
    terms: Terms,
    builds: Builds,
    routes: Arc<RouteTable>,
    shelf: Arc<Shelf>,
    plugins: BTreeMap<String, Entry>,
    /// Files that aren't served since another has their name; said once.
    doubles: BTreeSet<PathBuf>,
    control: Control,
    asked: mpsc::Receiver<Asked>,
    /// Told where a probation may have an end.
    news: Arc<Notify>,
    /// Told when the host stops.
    ending: Arc<Notify>,
    /// By plugins, probations that have ended and may still hold bytes of stored states.
    past: BTreeMap<Arc<str>, Vec<Arc<Probation>>>,
    /// Whether the sources were looked through.
    has_looked: bool,
    /// Whether a mount's configuration leaves its gatekeeper unnamed, so that there may be one at most.
    one_gatekeeper: bool,
}

/// What is known of one plugin.
#[derive(Default)]
struct Entry {
    /// How its file was when it was last looked at.
    seen: Option<Stamp>,
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
    /// Whether its file, of which nothing could be loaded, looks like a gatekeeper.
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
        terms: Terms,
        builds: Builds,
        (routes, shelf): (Arc<RouteTable>, Arc<Shelf>),
    ) -> Self {
        let (control, asked) = Control::new();
        let news = Arc::<Notify>::default();
        let past = past_of(&builds, &news);
        Self {
            loader,
            sources,
            terms,
            builds,
            routes,
            shelf,
            plugins: BTreeMap::new(),
            doubles: BTreeSet::new(),
            control,
            asked,
            news,
            ending: Arc::default(),
            past,
            has_looked: false,
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

    /// Looks through the sources once, and loads what is new or has changed.
    pub async fn refresh(&mut self) {
        let (looked, found) = (Instant::now(), scan(&self.sources));
        self.note_vanished(&found);
        self.note_doubles(&found);
        if !std::mem::replace(&mut self.has_looked, true) {
            self.say_absent(&found);
        }
        let mut fresh = BTreeSet::new();
        for (name, (path, stamp)) in &found.plugins {
            let store = self.terms.settings.store_of(name).ok();
            self.shelf.update(name, |status| status.store = store);
            let entry = self.plugins.entry(name.clone()).or_default();
            if entry.seen.replace(*stamp) == Some(*stamp) || entry.is_unloaded {
                continue;
            }
            match self.load(name, path, Some(Look { stamp: *stamp, at: looked }), false).await {
                Ok(false) => {}
                Ok(true) => drop(fresh.insert(name.clone())),
                Err(error) => self.refuse(name, path, &format!("{error:#}")),
            }
        }
        if !fresh.is_empty() {
            self.publish_candidates();
            self.refuse_candidates(&fresh, &found);
        }
    }

    /// Refreshes whenever something may have changed, until it is told to [end](Self::ending).
    pub async fn watch(mut self) {
        let mut watcher = Watcher::new(&self.sources);
        loop {
            // What has answered calls by now is proved, before another build takes its place.
            self.review();
            // First of all for what changed before the watch began.
            self.refresh().await;
            self.review();
            let (news, ending) = (Arc::clone(&self.news), Arc::clone(&self.ending));
            let look = Arc::clone(&self.control.look);
            // Waiting may be broken off and begun anew without a change being missed.
            tokio::select! {
                () = watcher.changed() => {}
                () = news.notified() => {}
                () = ending.notified() => return self.review(),
                () = look.notified() => self.forget_stamps().await,
                Some(Asked { plugin, wish, answer }) = self.asked.recv() => {
                    let granted = self.grant(&plugin, wish).await;
                    // Who asked may have gone.
                    let _ = answer.send(granted);
                }
            }
        }
    }

    /// Forgets how the files looked, so that the next refresh reads them all.
    async fn forget_stamps(&mut self) {
        // First what has vanished is noticed, by the stamps.
        self.refresh().await;
        self.plugins.values_mut().for_each(|entry| entry.seen = None);
    }

    /// A vanished file is no wish to unload: it may be a build tool's way of writing.
    fn note_vanished(&mut self, found: &Found) {
        for (name, entry) in &mut self.plugins {
            let is_gone = !found.plugins.contains_key(name);
            if is_gone && entry.seen.take().is_some() {
                entry.candidate = None;
                let is_served = entry.serving.is_some();
                let what_now = if is_served { "the last good generation goes on serving" } else { "it is not served" };
                tracing::warn!(plugin = name, "plugin_file_gone: {what_now}");
            }
            self.shelf.update(name, |status| status.file_is_gone = is_gone);
        }
    }

    fn note_doubles(&mut self, found: &Found) {
        for path in &found.doubles {
            if self.doubles.insert(path.clone()) {
                tracing::warn!("{} is not served: another file has its name, which is the plugin's", path.display());
            }
        }
    }

    /// Loads a file as a candidate, unless its content is what serves and that is enough. Whether it was.
    async fn load(&mut self, name: &str, path: &Path, look: Option<Look>, even_if_same: bool) -> Result<bool> {
        let (stamp, bytes) = read_settled(path, look).await?;
        let bytes = Bytes::from(bytes);
        let digesting = tokio::task::spawn_blocking(move || (Digest::of(&bytes), bytes)).await;
        let (digest, bytes) = digesting.context("reading the file's digest")?;
        let entry = self.plugins.entry(name.to_owned()).or_default();
        entry.seen = Some(stamp);
        entry.candidate = None;
        if !even_if_same && entry.serving.as_ref().is_some_and(|serving| serving.loaded.digest == digest) {
            self.shelf.update(name, |status| status.last_error = None);
            return Ok(false);
        }
        if let Some(trial) = self.way_back(name, &digest) {
            if let Some(judge) = trial.judge() {
                self.return_to_proved(name, judge)?;
            }
            return Ok(false);
        }
        if even_if_same {
            self.builds.forget(&digest);
        } else if let Some(rejection) = self.builds.rejection(name, &digest).cloned() {
            return self.load_instead(name, path, &rejection).await;
        }
        self.load_bytes(name, bytes, digest).await?;
        self.shelf.update(name, |status| status.file = path.display().to_string());
        Ok(true)
    }

    /// The file holds a build that was taken back. If nothing serves yet, what served in its place does again.
    async fn load_instead(&mut self, name: &str, path: &Path, rejection: &Rejection) -> Result<bool> {
        let serves = self.plugins.get(name).is_some_and(|entry| entry.serving.is_some());
        let why = anyhow!(
            "this build was taken back after {} faults; `bennu plugins reload {name}` loads it all the same",
            rejection.faults
        );
        let Some(kept) = self.kept_instead(name, rejection).filter(|_| !serves) else { return Err(why) };
        let digest = Digest::of(&kept);
        let loading = self.load_bytes(name, kept, digest).await;
        loading.with_context(|| format!("{why}; nor can the build before it be loaded any more"))?;
        let remark = format!("{why}; until then the build before it serves");
        tracing::warn!(plugin = name, "plugin_refused: {}: {remark}", path.display());
        self.shelf.update(name, |status| status.file = path.display().to_string());
        if let Some(candidate) = self.plugins.get_mut(name).and_then(|entry| entry.candidate.as_mut()) {
            candidate.remark = Some(remark);
        }
        Ok(true)
    }

    /// Loads a component as a candidate.
    async fn load_bytes(&mut self, name: &str, bytes: Bytes, digest: Digest) -> Result<()> {
        self.recall(name, &digest).await;
        let origin = self.next_origin(name)?;
        let entry = self.plugins.entry(name.to_owned()).or_default();
        let loaded = self.loader.load(bytes.clone(), digest, origin).await;
        let was_missed = entry.is_missed;
        entry.is_missed = loaded.is_err() && Anatomy::looks_like_gatekeeper(&bytes);
        if entry.is_missed != was_missed {
            self.publish_as_it_is();
        }
        let loaded = Arc::new(loaded?);
        // Its sync may take a while.
        tokio::task::spawn_blocking(self.builds.keep(&digest, bytes)).await.context("keeping its component")?;
        let trial = self.trial_of(name, &loaded);
        self.plugins.entry(name.to_owned()).or_default().candidate = Some(Serving { loaded, trial, remark: None });
        Ok(())
    }

    /// The gatekeepers among these, and those that are missed: a mount must not stand open for want of its guard.
    fn guards<'a>(&'a self, serving: impl Iterator<Item = &'a Serving>) -> Guards {
        let missed = self.plugins.iter().filter(|(_, entry)| entry.is_missed && entry.serving.is_none());
        let missed = missed.map(|(name, _)| (name.as_str().into(), Guard::Absent));
        Guards::new(missed.chain(serving.filter_map(Serving::guard)))
    }

    /// Publishes anew what serves, with the guards as they are.
    fn publish_as_it_is(&self) {
        if let Ok(table) = self.table_with(&[]) {
            self.routes.publish(table);
        }
    }

    /// Publishes as many candidates as get on with the others: all at once, as when two plugins exchange topics, or each
    /// that can alone.
    fn publish_candidates(&mut self) {
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
        let guards = self.guards(serving.iter().copied());
        Ok(Routes::new(serving.into_iter().flat_map(Serving::table))?.guarded_by(guards).remembering(self.past()))
    }

    /// Publishes the candidates of these names, which get on with the others.
    fn publish(&mut self, names: &[String]) {
        names.iter().for_each(|name| self.note_candidate(name));
        let Ok(table) = self.table_with(names) else { return };
        if self.one_gatekeeper && table.guards().names().count() > 1 {
            let names: Vec<&str> = table.guards().names().map(|name| &**name).collect();
            tracing::error!(
                "there are several gatekeepers ({}), so the mounts that name none let nobody in; set `gatekeeper` of each",
                names.join(", ")
            );
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
                announce(name, serving, is_first, &self.shelf);
            }
        }
        self.prune_builds();
    }

    /// Says of the fresh candidates that couldn't be published why not.
    fn refuse_candidates(&self, fresh: &BTreeSet<String>, found: &Found) {
        for name in fresh {
            if let (Some(conflict), Some((path, _))) = (self.conflict_of(name), found.plugins.get(name)) {
                self.refuse(name, path, &conflict.to_string());
            }
        }
    }

    /// What keeps a candidate from being published, if there is one.
    fn conflict_of(&self, name: &str) -> Option<Conflict> {
        let is_waiting = self.plugins.get(name).is_some_and(|entry| entry.candidate.is_some());
        is_waiting.then(|| self.table_with(&[name.to_owned()]).err()).flatten()
    }

    fn refuse(&self, name: &str, path: &Path, why: &str) {
        let keeps = self.plugins.get(name).is_some_and(|entry| entry.serving.is_some());
        let what_now = if keeps { "the running generation goes on" } else { "it is not served" };
        tracing::error!(plugin = name, "plugin_refused: {}: {why} ({what_now})", path.display());
        self.shelf.update(name, |status| {
            status.file = path.display().to_string();
            status.last_error = Some(why.to_owned());
        });
    }
}

fn announce(name: &str, serving: &Serving, is_first: bool, shelf: &Shelf) {
    let loaded = &serving.loaded;
    if let Some(trial) = &serving.trial {
        // If it was on already, for the generation before, it begins anew.
        trial.probation.restart();
    }
    let (standing, probation) = serving.standing();
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
    if is_first && standing == Some(Standing::OnProbation) {
        tracing::info!(plugin = name, generation, "plugin_on_probation: another build was proved last");
    }
    shelf.update(name, |status| {
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
