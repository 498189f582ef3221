//! The library: one task that owns all loading.
//!
//! The watcher only says that something changed. Here the sources are scanned, what is new or different is loaded, one
//! plugin at a time, and a new table of routes is published. Whatever goes wrong leaves in place what runs.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

use super::guest::{Grants, Origin};
use super::loader::{Digest, Loaded, Loader};
use super::scan::{Stamp, scan};
use super::status::Shelf;
use super::{Source, unique};
use crate::routes::{RouteTable, Routes};

/// How long the directory must be quiet before it is looked at, and how long that is waited for.
const QUIET: Duration = Duration::from_millis(30);
const QUIET_WAIT_MAX: Duration = Duration::from_secs(1);

/// The time between the two looks at a file that must agree, and how many are taken.
const LOOK_APART: Duration = Duration::from_millis(20);
const LOOKS_MAX: usize = 100;

/// What the configuration says of one plugin.
#[derive(Clone, Debug)]
pub struct PluginSettings {
    /// What the plugin reads as its configuration, a JSON object.
    pub configuration: Arc<str>,
    /// Where it may publish beyond its own topics.
    pub publish: Grants,
}

impl Default for PluginSettings {
    fn default() -> Self {
        Self { configuration: "{}".into(), publish: Grants::default() }
    }
}

/// All plugins of a host.
pub struct Library {
    loader: Loader,
    sources: Vec<Source>,
    settings: HashMap<String, PluginSettings>,
    routes: Arc<RouteTable>,
    shelf: Arc<Shelf>,
    plugins: BTreeMap<String, Entry>,
}

/// What is known of one file.
#[derive(Default)]
struct Entry {
    /// How the file was when it was last looked at.
    seen: Option<Stamp>,
    /// What serves.
    serving: Option<Loaded>,
    generation: u32,
}

impl Library {
    /// A library of these sources that publishes into `routes` and says on `shelf` how things are.
    #[must_use]
    pub fn new(
        loader: Loader,
        sources: Vec<Source>,
        settings: HashMap<String, PluginSettings>,
        routes: Arc<RouteTable>,
        shelf: Arc<Shelf>,
    ) -> Self {
        Self { loader, sources, settings, routes, shelf, plugins: BTreeMap::new() }
    }

    /// Looks through the sources once, and loads what is new or has changed.
    pub async fn refresh(&mut self) {
        let found = scan(&self.sources);
        self.note_vanished(&found);
        // What is published may let go of a topic that a plugin before it waits for.
        while self.load_changed(&found).await {}
    }

    /// Loads what isn't as it was when it was last looked at. Gives whether there is reason to do so again: something was
    /// published, and something was refused before that.
    async fn load_changed(&mut self, found: &BTreeMap<String, (PathBuf, Stamp)>) -> bool {
        let (mut was_refused, mut again) = (false, false);
        for (name, (path, stamp)) in found {
            let entry = self.plugins.entry(name.clone()).or_default();
            if entry.seen == Some(*stamp) {
                continue;
            }
            let generation = entry.generation;
            match self.load(name, path).await {
                Ok(()) => again |= was_refused && self.plugins[name].generation > generation,
                Err(error) => {
                    was_refused = true;
                    self.refuse(name, path, &error);
                }
            }
        }
        again
    }

    fn refuse(&self, name: &str, path: &Path, error: &anyhow::Error) {
        let keeps = self.plugins.get(name).is_some_and(|entry| entry.serving.is_some());
        let what_now = if keeps { "the running generation goes on" } else { "it is not served" };
        tracing::error!(plugin = name, "plugin_refused: {}: {error:#} ({what_now})", path.display());
        self.shelf.update(name, |status| {
            status.file = path.display().to_string();
            status.last_error = Some(format!("{error:#}"));
        });
    }

    /// Watches the sources and refreshes at each change, for ever.
    ///
    /// # Errors
    /// Where the operating system won't watch; what is loaded goes on serving.
    pub async fn watch(mut self) -> Result<()> {
        // One entry is enough: it says that something changed, and everything is looked at then.
        let (changed, mut changes) = mpsc::channel::<()>(1);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                let _ = changed.try_send(());
            }
        })
        .context("starting to watch for changed plugins")?;
        for source in &self.sources {
            let directory = source.directory();
            watcher
                .watch(directory, RecursiveMode::NonRecursive)
                .with_context(|| format!("watching {} for changed plugins", directory.display()))?;
        }
        // What changed before the watch began.
        self.refresh().await;
        while changes.recv().await.is_some() {
            Self::wait_for_quiet(&mut changes).await;
            self.refresh().await;
        }
        Ok(())
    }

    async fn wait_for_quiet(changes: &mut mpsc::Receiver<()>) {
        let latest = Instant::now() + QUIET_WAIT_MAX;
        while Instant::now() < latest {
            let quiet = (Instant::now() + QUIET).min(latest);
            if !matches!(timeout_at(quiet, changes.recv()).await, Ok(Some(()))) {
                return;
            }
        }
    }

    /// A vanished file is no wish to unload: it may be a build tool's way of writing.
    fn note_vanished(&mut self, found: &BTreeMap<String, (PathBuf, Stamp)>) {
        for (name, entry) in &mut self.plugins {
            let is_gone = !found.contains_key(name);
            if is_gone && entry.seen.take().is_some() {
                tracing::warn!(plugin = name, "plugin_file_gone: the last good generation goes on serving");
            }
            self.shelf.update(name, |status| status.file_is_gone = is_gone);
        }
    }

    async fn load(&mut self, name: &str, path: &Path) -> Result<()> {
        let (stamp, bytes) = read_settled(path).await?;
        let entry = self.plugins.entry(name.to_owned()).or_default();
        entry.seen = Some(stamp);
        let digest = Digest::of(&bytes);
        if entry.serving.as_ref().is_some_and(|serving| serving.digest == digest) {
            self.shelf.update(name, |status| status.last_error = None);
            return Ok(());
        }
        let settings = self.settings.get(name).cloned().unwrap_or_default();
        let origin = Arc::new(Origin {
            name: name.into(),
            generation: entry.generation + 1,
            configuration: settings.configuration,
            publish: settings.publish,
        });
        let loaded = self.loader.load(bytes, origin).await?;
        self.publish(name, path, loaded)
    }

    fn publish(&mut self, name: &str, path: &Path, loaded: Loaded) -> Result<()> {
        let others = self.plugins.iter().filter(|(other, _)| *other != name);
        let others = others.filter_map(|(_, entry)| entry.serving.as_ref()).flat_map(Loaded::table);
        let table = Routes::new(others.chain(loaded.table()));
        let entry = self.plugins.entry(name.to_owned()).or_default();
        // A conflict may be solved in the other plugin: then this one is tried again.
        let table = table.inspect_err(|_| entry.seen = None)?;
        self.routes.publish(table);
        entry.generation += 1;
        let generation = entry.generation;
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
        self.shelf.update(name, |status| {
            status.file = path.display().to_string();
            status.generation = generation;
            status.topics = topics;
            status.contract = loaded.anatomy.version.to_string();
            status.digest = loaded.digest.to_string();
            status.bytes = loaded.size;
            status.loaded_at_ms = unique::now_ms();
            status.last_error = None;
        });
        entry.serving = Some(loaded);
        Ok(())
    }
}

/// Reads a file once two looks at it agree: somebody may be writing it still.
async fn read_settled(path: &Path) -> Result<(Stamp, Vec<u8>)> {
    let reading = || format!("reading {}", path.display());
    for _ in 0..LOOKS_MAX {
        let before = Stamp::of(path);
        sleep(LOOK_APART).await;
        let bytes = tokio::fs::read(path).await.with_context(reading)?;
        match (before, Stamp::of(path)) {
            (Some(before), Some(after)) if before == after => return Ok((after, bytes)),
            _ => {}
        }
    }
    Err(anyhow!("it kept changing while it was read")).with_context(reading)
}
