//! The static files of a host, and where they may be.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::Config;
use crate::transport::StaticFiles;

/// Returns the static files, if the configuration names a directory for them. Checks that the directory can be read.
pub(super) fn files(config: &Config) -> Result<Option<StaticFiles>> {
    let files = config.static_directory.as_ref().map(|directory| {
        std::fs::read_dir(directory)
            .map(|_| StaticFiles::new(directory.clone()))
            .with_context(|| format!("looking for static files in {}", directory.display()))
    });
    files.transpose()
}

/// Refuses a data directory inside the directory of static files: everybody could read plugins' data and the API key.
pub(super) fn check_apart(config: &Config) -> Result<()> {
    let Some(pages) = &config.static_directory else { return Ok(()) };
    let plain = |path: &Path| std::fs::canonicalize(path).or_else(|_| std::path::absolute(path));
    if plain(&config.data)?.starts_with(plain(pages)?) {
        bail!(
            "the data directory {} is inside {}, whose files are served, so everybody could read it; \
             name another directory with --data or --static",
            config.data.display(),
            pages.display()
        );
    }
    Ok(())
}
