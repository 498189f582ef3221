//! Loads plugins as a host does, without serving them.

use std::env;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use bennu::contract::{Http, NoHost};
use bennu::plugin::{self, Digest, Loaded, Loader, Settings, build_of};
use bennu::server::{Config, loader};
use bennu::store::{Store, StoreLimits};
use tokio::task::spawn_blocking;

/// Says whether a host would serve a file.
pub(in crate::commands) struct Checker {
    loader: Loader,
    settings: Settings,
}

impl Checker {
    pub(in crate::commands) fn new(config: &Config) -> Result<Self> {
        let store = Store::in_memory(StoreLimits::default())?;
        Ok(Self { loader: loader(config, Arc::new(NoHost), store, Http::none(), 1)?, settings: config.settings()? })
    }

    /// Loads the content of a file. The plugin's name is the file's.
    ///
    /// # Errors
    /// Returns the error with which a host refuses the file.
    pub(in crate::commands) async fn load(&self, file: &Path, content: Vec<u8>) -> Result<Loaded> {
        let refused = |error: anyhow::Error| refusal(file, &error);
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let origin = self.settings.origin(&name, 1).map_err(refused)?;
        let bytes = build_of(file, content);
        let digest = Digest::of(&bytes);
        self.loader.load(bytes.into(), digest, Arc::new(origin)).await.map_err(refused)
    }
}

/// The component of what a compiler has made for a file: a host would wrap a core module, too.
///
/// # Errors
/// Returns the error with which a host refuses the file.
pub(super) async fn wrapped(file: &Path, product: Vec<u8>) -> Result<Vec<u8>> {
    // A large module takes some time, in which `bennu dev` serves clients.
    let wrapped = spawn_blocking(move || plugin::wrapped(product)).await.context("wrapping the module")?;
    wrapped.map_err(|error| refusal(file, &error))
}

fn refusal(file: &Path, error: &anyhow::Error) -> anyhow::Error {
    anyhow!("{} can't be served: {error:#}", relative(file).display())
}

/// A path without the working directory before it.
fn relative(file: &Path) -> &Path {
    let here = env::current_dir();
    here.ok().and_then(|here| file.strip_prefix(here).ok()).unwrap_or(file)
}
