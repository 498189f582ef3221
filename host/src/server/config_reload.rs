//! Reads the configuration of a running host again, and applies what has changed: all of it, or nothing if anything is invalid.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use arc_swap::{ArcSwap, ArcSwapOption};
use bennu_outbound::Access as HttpAccess;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::api_key::own_api_key;
use super::config::{ConfigChange, Contents, JwksUrl, TakesEffect, changes, contents};
use super::findings::findings;
use super::logging::replace_filter;
use super::mounts::{MountParts, tokens};
use super::parts::check_apart;
use super::{Config, Limits};
use crate::api::{Access, ApiKey, ReloadConfig};
use crate::auth::Tokens;
use crate::channel::Node;
use crate::contract::Http;
use crate::dashboard::Connections;
use crate::plugin::{Command, Control, LibraryConfig, LibraryOptions, PluginStatus, PluginStatuses, Source};
use crate::transport::{LiveRouter, Mount, Proxies};

/// The maximum time that a reload waits for keys at new URLs. A request takes at most as long.
const JWKS_WAIT: Duration = Duration::from_secs(10);

/// Reads a configuration, as at the start: the file, and the flags of the command line.
pub type ReadConfig = Box<dyn Fn() -> Result<Config> + Send + Sync>;

/// The parts of a host that a changed configuration replaces.
pub(super) struct ConfigParts {
    pub(super) access: Option<Arc<Access>>,
    pub(super) tokens: Arc<ArcSwapOption<Tokens>>,
    pub(super) http: Arc<Http>,
    pub(super) mounts: MountParts,
    pub(super) control: Control,
    pub(super) statuses: Arc<PluginStatuses>,
    pub(super) node: Arc<Node>,
    pub(super) sources: Vec<Source>,
    pub(super) proxies: Arc<ArcSwap<Proxies>>,
}

/// Applies changed configurations to a host.
pub struct ConfigReload {
    parts: ConfigParts,
    /// Set before the host serves, unless the configuration can't be read again.
    read: OnceLock<ReadConfig>,
    /// Set when the host serves.
    router: OnceLock<Arc<LiveRouter>>,
    /// The configuration with which the host runs. Only one reload at a time has the lock.
    running: Arc<Mutex<Running>>,
    /// The limits with which the host runs, for the stop.
    limits: ArcSwapOption<Limits>,
    /// For how long a host that is told to stop serves on. A reload doesn't change it.
    drain: Duration,
}

struct Running {
    config: Config,
    contents: Contents,
}

/// What a reload of the configuration has found, and what has become of it.
#[derive(Debug)]
pub struct ConfigReloaded {
    /// The keys that differ.
    pub changes: Vec<ConfigChange>,
    /// Settings that are probably mistakes.
    pub findings: Vec<String>,
    /// The plugins that were loaded again for their new settings, with the reason if one keeps its former settings.
    pub plugins: Vec<(String, Option<String>)>,
    /// Whether it was only asked what would change.
    pub is_dry_run: bool,
}

/// The differences of a configuration, and everything that it needs.
struct Compared {
    changes: Vec<ConfigChange>,
    findings: Vec<String>,
    prepared: Prepared,
}

/// Everything that a configuration needs, made before anything is replaced.
struct Prepared {
    config: Config,
    tokens: Option<Arc<Tokens>>,
    mounts: Vec<Arc<Mount>>,
    http: HashMap<String, Arc<HttpAccess>>,
    keys: Vec<ApiKey>,
    library: LibraryConfig,
}

impl Prepared {
    /// Adds the key of the API for everything, which the host makes if its file is gone. Returns the contents of the files that
    /// the configuration names, with this one.
    fn with_key_for_everything(mut self) -> Result<(Self, Contents)> {
        if self.config.api.enabled {
            let key = self.config.api_key()?.map_or_else(|| own_api_key(&self.config.data), Ok)?;
            self.keys.push(ApiKey::for_everything(&key));
        }
        let contents = contents(&self.config)?;
        Ok((self, contents))
    }
}

impl ConfigReload {
    pub(super) fn new(config: &Config, parts: ConfigParts) -> Result<Arc<Self>> {
        let running = Running { config: config.clone(), contents: contents(config)? };
        let running = Arc::new(Mutex::new(running));
        let limits = ArcSwapOption::from_pointee(config.limits.clone());
        let drain = config.drain();
        Ok(Arc::new(Self { parts, read: OnceLock::new(), router: OnceLock::new(), running, limits, drain }))
    }

    /// Sets how the configuration is read again. Without it, a reload is refused. Only the first call has an effect.
    pub fn read_by(&self, read: ReadConfig) {
        let _ = self.read.set(read);
    }

    /// Whether the configuration can be read again.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.read.get().is_some()
    }

    /// Returns the function with which the API reloads the configuration. It doesn't keep the host alive.
    pub(super) fn for_api(self: &Arc<Self>) -> ReloadConfig {
        let reload = Arc::downgrade(self);
        Arc::new(move |is_dry_run| {
            let reload = reload.clone();
            Box::pin(async move {
                let reload = reload.upgrade().ok_or_else(|| "the host is stopping".to_owned())?;
                let outcome = reload.reload(is_dry_run).await.map_err(|error| format!("{error:#}"))?;
                if !is_dry_run {
                    outcome.log();
                }
                Ok(outcome.json())
            })
        })
    }

    /// Returns the parts of the host that the dashboard's connections use.
    pub(super) fn connections(&self, config: &Config) -> Connections {
        self.parts.mounts.connections(config)
    }

    /// Returns the trusted proxies, which a reload replaces.
    pub(super) fn proxies(&self) -> Arc<ArcSwap<Proxies>> {
        Arc::clone(&self.parts.proxies)
    }

    /// Sets the router whose mounts are replaced.
    pub(super) fn serves(&self, router: Arc<LiveRouter>) {
        let _ = self.router.set(router);
    }

    /// Returns the limits with which the host runs.
    pub(super) fn limits(&self) -> Limits {
        self.limits.load().as_deref().cloned().unwrap_or_default()
    }

    /// Returns for how long a host that is told to stop serves on.
    pub(super) fn drain(&self) -> Duration {
        self.drain
    }

    /// Reads the configuration, and applies the differences that need no restart. With `is_dry_run`, it only says what
    /// would change.
    ///
    /// # Errors
    /// Returns an error if the configuration can't be read or is invalid. The host then runs as before, with nothing replaced.
    pub async fn reload(self: &Arc<Self>, is_dry_run: bool) -> Result<ConfigReloaded> {
        let router = self.router.get().context("the host is still starting")?;
        let (this, running) = (Arc::clone(self), Arc::clone(&self.running).lock_owned().await);
        // Reads files, so it must not run on a thread that serves.
        let compare = move || {
            let compared = this.compare(&running);
            compared.map(|compared| (compared, running))
        };
        let (Compared { changes, findings, prepared }, mut running) = spawn_blocking(compare).await??;
        self.wait_for_keys(&running.config, &prepared.config).await?;
        let mut plugins = Vec::new();
        if !is_dry_run && changes.iter().any(|change| change.takes_effect != TakesEffect::Restart) {
            // The last step that can fail, because it may make a key.
            let prepared = spawn_blocking(|| prepared.with_key_for_everything()).await??;
            self.apply(prepared, &mut running, router).await;
            plugins = self.load_plugins(&changes).await;
        }
        Ok(ConfigReloaded { changes, findings, plugins, is_dry_run })
    }

    /// Waits until the keys at new URLs are there. Those that were used before may be missing at the moment.
    async fn wait_for_keys(&self, before: &Config, after: &Config) -> Result<()> {
        let known = before.jwks_urls();
        let new: Vec<&JwksUrl> = after.jwks_urls().into_iter().filter(|url| !known.contains(url)).collect();
        let missing = self.parts.mounts.jwks.missing(&new, JWKS_WAIT).await;
        ensure!(missing.is_empty(), "the keys at {} could not be fetched; the log says why", missing.join(", "));
        Ok(())
    }

    /// Reads the configuration, compares it with the running one, and makes everything that it needs.
    fn compare(&self, running: &Running) -> Result<Compared> {
        let read = self.read.get().context("this host reads its configuration only at its start")?;
        let new = read()?;
        let (mut found, config) = changes(&running.config, &new);
        let of_contents = running.contents.changes(&contents(&config)?);
        found.extend(of_contents.into_iter().filter(|change| !is_listed(&found, change)).collect::<Vec<_>>());
        let findings = findings(&new, &self.parts.sources, &self.parts.statuses.all())?;
        let findings = findings.into_iter().map(|finding| finding.text).collect();
        let prepared = self.prepare(config)?;
        Ok(Compared { changes: found, findings, prepared })
    }

    /// Makes everything that the configuration needs. Nothing is replaced yet.
    fn prepare(&self, config: Config) -> Result<Prepared> {
        config.check()?;
        check_apart(&config)?;
        let tokens = tokens(&config)?;
        let mounts = self.parts.mounts.mounts(&config, tokens.as_ref())?;
        let (http, settings) = (config.http_access(true)?, config.settings()?);
        let keys = config.api_keys()?;
        let options = LibraryOptions { settings, probation: (&config.reload).into() };
        let library = LibraryConfig { options, call_limits: config.limits.call(), pool_limits: config.limits.pool() };
        Ok(Prepared { config, tokens, mounts, http, keys, library })
    }

    /// Replaces everything. No step can fail, except that the host may be stopping.
    async fn apply(&self, (prepared, contents): (Prepared, Contents), running: &mut Running, router: &LiveRouter) {
        let Prepared { config, tokens, mounts, http, keys, library } = prepared;
        self.parts.tokens.store(tokens);
        self.parts.http.replace_access(http);
        if let Some(access) = &self.parts.access {
            access.replace(keys);
        }
        self.parts.node.pubsub.histories.set_limits(config.limits.history());
        self.parts.node.clients.set_limits(config.limits.clients());
        self.parts.proxies.store(Arc::new(config.proxies()));
        self.limits.store(Some(Arc::new(config.limits.clone())));
        router.replace(mounts);
        // A host that is stopping loads nothing any more.
        let _ = self.parts.control.configure(library).await;
        if let Err(error) = replace_filter(&config.log) {
            tracing::warn!("the filter of the log stays as it was: {error:#}");
        }
        *running = Running { config, contents };
    }

    /// Loads the plugins again whose settings have changed, with the builds that they have.
    async fn load_plugins(&self, changes: &[ConfigChange]) -> Vec<(String, Option<String>)> {
        let statuses = self.parts.statuses.all();
        let mut names = BTreeSet::new();
        for change in changes {
            match &change.takes_effect {
                TakesEffect::PluginReload(None) => names.extend(statuses.keys().cloned()),
                TakesEffect::PluginReload(Some(name)) => {
                    names.extend(statuses.get_key_value(name).map(|(name, _)| name.clone()))
                }
                _ => {}
            }
        }
        let mut plugins = Vec::new();
        for name in names {
            let Some(status) = statuses.get(&name) else { continue };
            let failure = match keeps_settings(status) {
                Some(why) => Some(why.to_owned()),
                None => self.parts.control.ask(&name, Command::Reload).await.err().map(|error| error.to_string()),
            };
            plugins.push((name, failure));
        }
        plugins
    }
}

/// Whether the differences already name the key of a change of contents.
fn is_listed(found: &[ConfigChange], change: &ConfigChange) -> bool {
    found.iter().any(|known| change.key.starts_with(&known.key))
}

/// Returns why a plugin isn't loaded again: its file may have another build than the one that serves.
fn keeps_settings(status: &PluginStatus) -> Option<&'static str> {
    let was_taken_back = status.taken_back.as_ref().is_some_and(|back| back.generation() > status.generation);
    if status.is_unloaded {
        Some("it is unloaded; it gets its new settings when it is loaded")
    } else if status.is_rolled_back || was_taken_back {
        Some("it is rolled back; it gets its new settings with its next build")
    } else if status.file_is_gone {
        Some("its file is gone; the generation that serves keeps its settings")
    } else {
        None
    }
}

impl ConfigReloaded {
    /// Returns the outcome as the answer of the API.
    #[must_use]
    pub fn json(&self) -> Value {
        let shown = |change: &ConfigChange| json!({ "key": change.key, "takes_effect": change.takes_effect.as_str() });
        let plugins = self.plugins.iter().map(|(name, failure)| (name.clone(), json!({ "failure": failure })));
        json!({
            "dry_run": self.is_dry_run,
            "changes": self.changes.iter().map(shown).collect::<Vec<_>>(),
            "plugins": plugins.collect::<Map<_, _>>(),
            "findings": self.findings,
        })
    }

    /// Logs the outcome.
    pub fn log(&self) {
        let keys = |needs_restart: bool| {
            let keys =
                self.changes.iter().filter(|change| (change.takes_effect == TakesEffect::Restart) == needs_restart);
            keys.map(|change| change.key.as_str()).collect::<Vec<_>>().join(", ")
        };
        let (applied, restart) = (keys(false), keys(true));
        if self.changes.is_empty() {
            tracing::info!("configuration_reloaded: nothing has changed");
        } else {
            tracing::info!(applied, "configuration_reloaded");
        }
        if !restart.is_empty() {
            tracing::warn!(keys = restart, "changed keys that take effect only when the host is started again");
        }
        for (plugin, failure) in &self.plugins {
            if let Some(failure) = failure {
                tracing::warn!(plugin, "the plugin keeps its former settings: {failure}");
            }
        }
    }
}
