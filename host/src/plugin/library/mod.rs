//! The library: one task that owns all loading.
//!
//! Whenever something may have changed, the sources are scanned, what is new or different is loaded, one plugin at a time,
//! and a new table of routes is published. Whatever goes wrong leaves in place what runs.

mod control;
mod trial;
mod wishes;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::builds::Rejection;
use super::guest::{Grants, Origin};
use super::loader::{Loaded, Loader};
use super::scan::{Found, Look, Stamp, read_settled, scan};
use super::status::{OnProbation, Shelf};
use super::watcher::Watcher;
use super::{Anatomy, Builds, Digest, Source};
use crate::contract::system_now_ms;
use crate::routes::{Conflict, Guard, Guards, ProbationTerms, RouteTable, Routes};
use crate::store::{Owner, QUOTA_BYTES};

use control::Asked;
pub use control::{Control, Denied, Wish};
use trial::Serving;

/// What the configuration says of one plugin.
#[derive(Clone, Debug)]
pub struct PluginSettings {
    /// What the plugin reads as its configuration, a JSON object.
    pub configuration: Arc<str>,
    /// Where it may publish and send beyond its own topics, and whom it may disconnect.
    pub publish: Grants,
    /// Which topics it may hear and read about beyond its own.
    pub read: Grants,
    /// Bytes that it may have in the store.
    pub store_bytes: u64,
}

impl Default for PluginSettings {
    fn default() -> Self {
        Self {
            configuration: "{}".into(),
            publish: Grants::default(),
            read: Grants::default(),
            store_bytes: QUOTA_BYTES,
        }
    }
}

/// What the configuration says of plugins.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Of single ones, by name.
    pub named: HashMap<String, PluginSettings>,
    /// Of all others.
    pub others: PluginSettings,
}

impl Settings {
    /// What it says of this one.
    #[must_use]
    pub fn of(&self, name: &str) -> PluginSettings {
        self.named.get(name).unwrap_or(&self.others).clone()
    }
}

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
            news: Arc::default(),
            one_gatekeeper: false,
        }
    }

    /// What operators ask it by. It answers while it [watches](Self::watch).
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
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
        let mut fresh = BTreeSet::new();
        for (name, (path, stamp)) in &found.plugins {
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

    /// Refreshes whenever something may have changed, for ever.
    pub async fn watch(mut self) {
        let mut watcher = Watcher::new(&self.sources);
        loop {
            // First of all for what changed before the watch began.
            self.refresh().await;
            self.review();
            let (news, look) = (Arc::clone(&self.news), Arc::clone(&self.control.look));
            // Waiting may be broken off and begun anew without a change being missed.
            tokio::select! {
                () = watcher.changed() => {}
                () = news.notified() => {}
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
                tracing::warn!(plugin = name, "plugin_file_gone: the last good generation goes on serving");
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
            self.return_to_proved(name, &trial)?;
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
        let kept = if serves { None } else { self.builds.kept(&rejection.instead) };
        let Some(kept) = kept.map(Bytes::from) else { return Err(why) };
        let digest = Digest::of(&kept);
        self.load_bytes(name, kept, digest).await?;
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
        let settings = self.terms.settings.of(name);
        let entry = self.plugins.entry(name.to_owned()).or_default();
        let origin = Arc::new(Origin {
            name: name.into(),
            generation: entry.generation + 1,
            configuration: settings.configuration,
            publish: settings.publish,
            read: settings.read,
            owner: Owner::new(name, settings.store_bytes)?,
        });
        let loaded = self.loader.load(bytes.clone(), digest, origin).await;
        let was_missed = entry.is_missed;
        entry.is_missed = loaded.is_err() && Anatomy::looks_like_gatekeeper(&bytes);
        if entry.is_missed != was_missed {
            self.publish_as_it_is();
        }
        let loaded = Arc::new(loaded?);
        self.builds.keep(&digest, &bytes);
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
            if let Ok(table) = self.table_with(&waiting) {
                return self.publish(table, &waiting);
            }
            let alone = waiting.into_iter().find_map(|name| {
                let names = [name];
                self.table_with(&names).ok().map(|table| (table, names))
            });
            let Some((table, names)) = alone else { return };
            self.publish(table, &names);
        }
    }

    /// The routes of all that serves, with the candidates of these names in place of what serves under them.
    fn table_with(&self, names: &[String]) -> Result<Routes, Conflict> {
        let (changed, others): (Vec<_>, Vec<_>) = self.plugins.iter().partition(|(name, _)| names.contains(name));
        let others = others.into_iter().filter_map(|(_, entry)| entry.serving.as_ref());
        let candidates = changed.into_iter().filter_map(|(_, entry)| entry.candidate.as_ref());
        let serving: Vec<&Serving> = others.chain(candidates).collect();
        let guards = self.guards(serving.iter().copied());
        Ok(Routes::new(serving.into_iter().flat_map(Serving::table))?.guarded_by(guards))
    }

    fn publish(&mut self, table: Routes, names: &[String]) {
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
            entry.previous = before.map(|before| before.loaded);
            if let Some(serving) = &entry.serving {
                entry.generation = entry.generation.max(serving.loaded.generation());
                announce(name, serving, &self.shelf);
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

fn announce(name: &str, serving: &Serving, shelf: &Shelf) {
    let loaded = &serving.loaded;
    let probation = serving.trial.as_ref().map(|trial| {
        // If it was on already, for the generation before, it begins anew.
        trial.probation.restart();
        OnProbation { instead: trial.proved.generation(), probation: Arc::clone(&trial.probation) }
    });
    let (generation, kind) = (loaded.generation(), loaded.anatomy.kind.as_str());
    let topics: Vec<String> = loaded.routes.iter().map(|route| route.pattern.to_string()).collect();
    tracing::info!(
        plugin = name,
        generation,
        topics = topics.join(" "),
        compiling_ms = u64::try_from(loaded.compiling.as_millis()).unwrap_or(u64::MAX),
        cached = loaded.was_cached,
        "{}",
        if generation == 1 { "plugin_loaded" } else { "plugin_reloaded" }
    );
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
        status.probation = probation;
    });
}
