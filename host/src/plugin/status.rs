//! What can be said of the plugins of a running host.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// One plugin, as operators see it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PluginStatus {
    /// Its file.
    pub file: String,
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
    /// Whether an operator has unloaded it.
    pub is_unloaded: bool,
    /// Whether an operator has gone back to this generation from a later one, which is still in the file.
    pub is_rolled_back: bool,
    /// Whether its file has vanished; the last good generation goes on serving.
    pub file_is_gone: bool,
}

/// The statuses of all plugins, by name: written by the library, read by whoever asks.
#[derive(Debug, Default)]
pub struct Shelf {
    plugins: Mutex<BTreeMap<String, PluginStatus>>,
}

impl Shelf {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, PluginStatus> {
        self.lock().clone()
    }

    pub(super) fn update(&self, name: &str, change: impl FnOnce(&mut PluginStatus)) {
        change(self.lock().entry(name.to_owned()).or_default());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, PluginStatus>> {
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
