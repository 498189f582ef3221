//! The statuses of the plugins of a running host.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::{ClusterPluginStatus, PluginUsage, Tools};
use crate::routes::Probation;

/// The status of one plugin, for operators.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PluginStatus {
    /// The path of its file.
    pub file: String,
    /// The name under which the plugin's data is stored; none if that name belongs to another plugin.
    pub store: Option<String>,
    /// The generation that serves, counted from 1; 0 if none serves.
    pub generation: u32,
    /// `plugin` or `gatekeeper`.
    pub kind: &'static str,
    /// The patterns of its routes.
    pub topics: Vec<String>,
    /// The contract version that the component was built for.
    pub contract: String,
    /// The language, the SDK and the tools that the component was made with, as far as it says so.
    #[serde(flatten)]
    pub tools: Tools,
    /// The SHA-256 of the component that serves, in hexadecimal.
    pub digest: String,
    /// The size of that component, in bytes.
    pub bytes: usize,
    /// The time when that component was published, in milliseconds since 1970.
    pub loaded_at_ms: u64,
    /// The reason why the last load was refused, if it was.
    pub last_error: Option<String>,
    /// Whether a build is being read, compiled and described. The running generation continues to serve.
    pub is_loading: bool,
    /// Whether an operator has unloaded the plugin.
    pub is_unloaded: bool,
    /// Whether an operator has rolled the plugin back to this generation. The later build is still in the file.
    pub is_rolled_back: bool,
    /// Whether the file has vanished. The last good generation continues to serve.
    pub file_is_gone: bool,
    /// The phase of the serving generation; none for a gatekeeper, or if nothing serves.
    pub standing: Option<PluginPhase>,
    /// The probation of the serving generation, if it is on one.
    pub probation: Option<OnProbation>,
    /// The build that was last rolled back automatically, if any.
    pub taken_back: Option<RolledBack>,
    /// The plugin in the whole cluster, at a node of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterPluginStatus>,
    /// How often builds were loaded, refused and rolled back.
    #[serde(skip)]
    pub loads: LoadCounts,
    /// What the plugin uses.
    #[serde(serialize_with = "shared")]
    pub usage: Arc<PluginUsage>,
}

fn shared<S: Serializer>(usage: &Arc<PluginUsage>, serializer: S) -> Result<S::Ok, S::Error> {
    usage.serialize(serializer)
}

/// Counts of the builds of a plugin since the host's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadCounts {
    /// The builds that began to serve: the first one, reloads, and rollbacks to an earlier build by an operator.
    pub published: u64,
    /// The builds that were refused.
    pub refused: u64,
    /// The automatic rollbacks.
    pub taken_back: u64,
    /// The rollbacks by an operator.
    pub rolled_back: u64,
}

/// The phase of a build: unproved, on probation, or passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginPhase {
    /// The build has answered no call yet, and no earlier build exists with which it could be compared.
    Unproved,
    /// The build is on probation, and may be rolled back automatically.
    OnProbation,
    /// The build has answered calls and passed its probation.
    Proved,
}

/// A generation on probation.
#[derive(Clone, Debug)]
pub struct OnProbation {
    /// The generation that serves again after a rollback; none if it can't be loaded any more.
    pub instead: Option<u32>,
    pub(super) probation: Arc<Probation>,
}

impl Serialize for OnProbation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("OnProbation", 3)?;
        fields.serialize_field("instead", &self.instead)?;
        fields.serialize_field("calls", &self.probation.calls())?;
        fields.serialize_field("faults", &self.probation.faults())?;
        fields.end()
    }
}

/// A build that was rolled back automatically.
#[derive(Clone, Debug)]
pub struct RolledBack {
    generation: u32,
    digest: String,
    at_ms: u64,
    faults: u32,
    probation: Arc<Probation>,
}

impl RolledBack {
    /// Returns the generation that was rolled back.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    pub(super) fn new(generation: u32, digest: String, at_ms: u64, faults: u32, probation: Arc<Probation>) -> Self {
        Self { generation, digest, at_ms, faults, probation }
    }
}

impl Serialize for RolledBack {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("RolledBack", 5)?;
        fields.serialize_field("generation", &self.generation)?;
        fields.serialize_field("digest", &self.digest)?;
        fields.serialize_field("at_ms", &self.at_ms)?;
        fields.serialize_field("faults", &self.faults)?;
        // The count grows while states return to their earlier versions.
        fields.serialize_field("commits_given_up", &self.probation.discarded_commits())?;
        fields.end()
    }
}

/// The statuses of all plugins, by name. The library writes them, and any thread may read them.
#[derive(Debug, Default)]
pub struct PluginStatuses {
    /// A lock, because threads that read a status must not wait for the library's task. It is held only to copy or
    /// change the map.
    plugins: Mutex<BTreeMap<String, PluginStatus>>,
}

impl PluginStatuses {
    /// Returns the statuses of all plugins.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, PluginStatus> {
        self.lock().clone()
    }

    /// Whether a generation of any plugin serves.
    #[must_use]
    pub fn is_any_served(&self) -> bool {
        self.lock().values().any(|status| status.generation > 0)
    }

    /// The statuses of a host that serves one plugin.
    #[cfg(test)]
    pub(crate) fn with_one_served() -> Self {
        let statuses = Self::default();
        statuses.update("echo", |status| status.generation = 1);
        statuses
    }

    pub(super) fn update(&self, name: &str, change: impl FnOnce(&mut PluginStatus)) {
        change(self.lock().entry(name.to_owned()).or_default());
    }

    /// Sets what is known of a plugin in the whole cluster.
    pub fn set_cluster(&self, name: &str, cluster: ClusterPluginStatus) {
        self.update(name, |status| status.cluster = Some(cluster));
    }

    /// Returns why this node doesn't serve what its cluster serves: a sentence for each such plugin.
    #[must_use]
    pub fn cluster_troubles(&self) -> Vec<String> {
        let plugins = self.lock();
        let troubles =
            plugins.iter().filter_map(|(name, status)| Some((name, status.cluster.as_ref()?.trouble.as_ref()?)));
        troubles.map(|(name, why)| format!("the plugin `{name}` isn't served here as in the cluster: {why}")).collect()
    }

    /// Returns what a plugin uses.
    pub(super) fn usage(&self, name: &str) -> Arc<PluginUsage> {
        Arc::clone(&self.lock().entry(name.to_owned()).or_default().usage)
    }

    /// Returns the status of one plugin.
    #[must_use]
    pub fn one(&self, name: &str) -> Option<PluginStatus> {
        self.lock().get(name).cloned()
    }

    pub(super) fn remove(&self, name: &str) {
        self.lock().remove(name);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, PluginStatus>> {
        // No panic can leave the data half changed, so a poisoned lock is used like any other.
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
