//! What can be said of the plugins of a running host.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::routes::Probation;

/// One plugin, as operators see it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PluginStatus {
    /// Its file.
    pub file: String,
    /// Under which name its data is kept; none where that name is another plugin's.
    pub store: Option<String>,
    /// Which of its loads serves, counted from 1; 0 while none has succeeded.
    pub generation: u32,
    /// `plugin` or `gatekeeper`.
    pub kind: &'static str,
    /// The patterns that it serves.
    pub topics: Vec<String>,
    /// The contract's version that it was built for.
    pub contract: String,
    /// The SHA-256 of the component that serves.
    pub digest: String,
    /// Bytes of that component.
    pub bytes: usize,
    /// When it was loaded, in milliseconds since 1970.
    pub loaded_at_ms: u64,
    /// Why the last load was refused, if it was.
    pub last_error: Option<String>,
    /// Whether a build of it is being read, compiled and asked for its routes; until that is done, what runs goes on.
    pub is_loading: bool,
    /// Whether an operator has unloaded it.
    pub is_unloaded: bool,
    /// Whether an operator has gone back to this generation from a later one, which is still in the file.
    pub is_rolled_back: bool,
    /// Whether its file has vanished; the last good generation goes on serving.
    pub file_is_gone: bool,
    /// Whether the generation that serves has proved itself; none of a gatekeeper, and where nothing serves.
    pub standing: Option<PluginPhase>,
    /// The probation that the generation that serves is on, if it is on one.
    pub probation: Option<OnProbation>,
    /// The build that was taken back last, if one was.
    pub taken_back: Option<RolledBack>,
}

/// How far a build has proved itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginPhase {
    /// It has answered no call yet, and there is no build before it that it could be judged by.
    Unproved,
    /// It may be taken back.
    OnProbation,
    /// It has answered calls, and has lasted through its probation.
    Proved,
}

/// A generation that has yet to prove itself.
#[derive(Clone, Debug)]
pub struct OnProbation {
    /// The generation that serves again if it fails; none where that can't be loaded any more.
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

/// A build that was taken back.
#[derive(Clone, Debug)]
pub struct RolledBack {
    generation: u32,
    digest: String,
    at_ms: u64,
    faults: u32,
    probation: Arc<Probation>,
}

impl RolledBack {
    pub(super) fn new(generation: u32, digest: String, at_ms: u64, faults: u32, probation: Arc<Probation>) -> Self {
        Self { generation, digest, at_ms, faults, probation }
    }
}

impl Serialize for RolledBack {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("TakenBack", 5)?;
        fields.serialize_field("generation", &self.generation)?;
        fields.serialize_field("digest", &self.digest)?;
        fields.serialize_field("at_ms", &self.at_ms)?;
        fields.serialize_field("faults", &self.faults)?;
        // It grows for as long as states return to what they were.
        fields.serialize_field("commits_given_up", &self.probation.discarded_commits())?;
        fields.end()
    }
}

/// The statuses of all plugins, by name: written by the library, read by whoever asks.
#[derive(Debug, Default)]
pub struct PluginStatuses {
    plugins: Mutex<BTreeMap<String, PluginStatus>>,
}

impl PluginStatuses {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, PluginStatus> {
        self.lock().clone()
    }

    pub(super) fn update(&self, name: &str, change: impl FnOnce(&mut PluginStatus)) {
        change(self.lock().entry(name.to_owned()).or_default());
    }

    /// One of them.
    #[must_use]
    pub fn one(&self, name: &str) -> Option<PluginStatus> {
        self.lock().get(name).cloned()
    }

    pub(super) fn remove(&self, name: &str) {
        self.lock().remove(name);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, PluginStatus>> {
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
