//! Compiled code on disk, so that a start doesn't compile again what hasn't changed.
//!
//! A cached file is machine code that the host will run, so the directory must belong to the user that runs the host, and
//! nobody else may look into it or write there: another directory is not used at all.

use std::fs::{self, DirBuilder, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use wasmtime::component::Component;

use super::Digest;
use crate::files;

/// The most files that are kept; the ones used longest ago go first.
const FILES_MAX: usize = 128;

/// A directory of compiled components.
#[derive(Clone, Debug)]
pub struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// Opens the directory, and makes it if it isn't there.
    ///
    /// # Errors
    /// Where others than this user may look into it or write there.
    pub fn open(directory: &Path) -> Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .with_context(|| format!("making the directory {} for compiled plugins", directory.display()))?;
        let found = fs::symlink_metadata(directory)?;
        let user = rustix::process::geteuid().as_raw();
        if !found.is_dir() || found.uid() != user || found.mode() & 0o077 != 0 {
            let shown = directory.display();
            bail!(
                "{shown} may be used by others than this user; run `chmod 700 {shown}` as its owner, or name another"
            );
        }
        Ok(Self { directory: directory.to_owned() })
    }

    /// The directory that belongs to this user by convention.
    #[must_use]
    pub fn default_directory() -> Option<PathBuf> {
        let named = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let caches = named("XDG_CACHE_HOME").or_else(|| named("HOME").map(|home| home.join(".cache")))?;
        Some(caches.join("bennu").join("compiled"))
    }

    /// The compiled form of a component, if it is there and this engine can use it.
    pub(super) fn find(&self, engine: &wasmtime::Engine, digest: &Digest) -> Option<Component> {
        let path = self.path(engine, digest);
        let file = File::open(&path).ok()?;
        #[allow(unsafe_code, reason = "see below")]
        // SAFETY: the file was written by `store` below, from this engine's own compiler: its name holds the content's hash
        // and the engine's compatibility hash, and it was put there whole, by a rename. Nobody but this user can write in
        // the directory (`open` has checked that), and who runs as this user needs no cache to run code.
        let component = unsafe { Component::deserialize_file(engine, &path) };
        match component {
            Ok(component) => {
                let _ = file.set_modified(SystemTime::now());
                Some(component)
            }
            Err(error) => {
                tracing::warn!("the compiled plugin {} is not used: {error:#}", path.display());
                let _ = fs::remove_file(&path);
                None
            }
        }
    }

    /// Keeps a compiled component.
    ///
    /// # Errors
    /// Where the directory can't be written.
    pub(super) fn store(&self, engine: &wasmtime::Engine, digest: &Digest, compiled: &[u8]) -> Result<()> {
        files::replace(&self.path(engine, digest), compiled)?;
        if let Err(error) = self.prune() {
            tracing::debug!("old compiled plugins stay: {error:#}");
        }
        Ok(())
    }

    fn path(&self, engine: &wasmtime::Engine, digest: &Digest) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        self.directory.join(format!("{digest}-{:016x}.cwasm", hasher.finish()))
    }

    fn prune(&self) -> Result<()> {
        let mut files: Vec<(SystemTime, PathBuf)> = fs::read_dir(&self.directory)?
            .filter_map(|entry| {
                let entry = entry.ok()?;
                Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
            })
            .collect();
        files.sort();
        let surplus = files.len().saturating_sub(FILES_MAX);
        files[..surplus].iter().try_for_each(|(_, path)| fs::remove_file(path))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> Result<u32> {
        Ok(fs::metadata(path)?.permissions().mode() & 0o777)
    }

    #[test]
    fn a_directory_that_others_can_enter_is_not_used() -> Result<()> {
        let home = tempfile::tempdir()?;
        let open = home.path().join("open");
        fs::create_dir(&open)?;
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755))?;
        let refusal = Cache::open(&open).err().map_or_else(String::new, |error| error.to_string());
        assert!(refusal.contains("chmod 700"), "{refusal}");
        let own = home.path().join("a/own");
        Cache::open(&own)?;
        assert_eq!(mode(&own)?, 0o700);
        Ok(())
    }

    #[test]
    fn what_is_kept_is_found_and_what_is_damaged_goes() -> Result<()> {
        let home = tempfile::tempdir()?;
        let cache = Cache::open(&home.path().join("compiled"))?;
        let engine = wasmtime::Engine::default();
        let bytes = wat::parse_str("(component)")?;
        let digest = Digest::of(&bytes);
        assert!(cache.find(&engine, &digest).is_none());
        cache.store(&engine, &digest, &engine.precompile_component(&bytes)?)?;
        assert!(cache.find(&engine, &digest).is_some());
        assert_eq!(mode(&cache.path(&engine, &digest))?, 0o600);
        cache.store(&engine, &digest, b"not machine code")?;
        assert!(cache.find(&engine, &digest).is_none());
        assert!(!cache.path(&engine, &digest).exists());
        Ok(())
    }

    #[test]
    fn only_so_many_are_kept() -> Result<()> {
        let home = tempfile::tempdir()?;
        let cache = Cache::open(&home.path().join("compiled"))?;
        let engine = wasmtime::Engine::default();
        for number in 0..FILES_MAX + 5 {
            cache.store(&engine, &Digest::of(&number.to_le_bytes()), b"code")?;
        }
        assert_eq!(fs::read_dir(home.path().join("compiled"))?.count(), FILES_MAX);
        Ok(())
    }
}
