//! Stores compiled code on the disk, so that the host doesn't compile unchanged components again at each start.
//!
//! A cached file is machine code that the host runs. So the directory must belong to the user that runs the host, and
//! no other user may read or write it; otherwise the directory isn't used. A disk may also damage a file, so each
//! file begins with a digest of the rest. The host reads the file once into its own memory, verifies these bytes, and
//! runs them. It doesn't map the file, because a mapped page may change after it was verified.

use std::fs::{self, DirBuilder, File, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use wasmtime::component::Component;

use super::Digest;
use super::core_module::ADAPTER;
use super::functions::Packs;
use crate::files;

/// The maximum number of files. Above it, the least recently used files are removed.
const FILES_MAX: usize = 128;

/// A directory of compiled components.
#[derive(Clone, Debug)]
pub struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// Opens the directory. Creates it if it doesn't exist.
    ///
    /// # Errors
    /// Returns an error if the directory can't be created, or if other users may read or write it.
    pub fn open(directory: &Path) -> Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .with_context(|| format!("creating the directory {} for compiled plugins", directory.display()))?;
        let found = fs::symlink_metadata(directory)?;
        let user = rustix::process::geteuid().as_raw();
        if !found.is_dir() || found.uid() != user || found.mode() & 0o077 != 0 {
            let shown = directory.display();
            bail!("other users may access {shown}; run `chmod 700 {shown}` as its owner, or set another directory");
        }
        Ok(Self { directory: directory.to_owned() })
    }

    /// Returns the usual cache directory of this user.
    #[must_use]
    pub fn default_directory() -> Option<PathBuf> {
        let named = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let caches = named("XDG_CACHE_HOME").or_else(|| named("HOME").map(|home| home.join(".cache")))?;
        Some(caches.join("bennu").join("compiled"))
    }

    /// Returns the compiled form of a component, if it is in the cache, undamaged, and usable by this engine. A file
    /// that can't be used is removed.
    pub(super) fn find(&self, engine: &wasmtime::Engine, digest: &Digest) -> Option<Component> {
        let path = self.path(engine, digest);
        let found = match File::open(&path) {
            Ok(file) => read(&file, engine, digest).and_then(|code| deserialize(engine, &code)),
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => Err(error.into()),
        };
        found
            .inspect_err(|error| {
                tracing::warn!(
                    "the compiled plugin {} can't be used, so it is compiled again: {error:#}",
                    path.display()
                );
                let _ = fs::remove_file(&path);
            })
            .ok()
    }

    /// Stores a compiled component.
    ///
    /// # Errors
    /// Returns an error if the directory can't be written.
    pub(super) fn store(&self, engine: &wasmtime::Engine, digest: &Digest, code: &[u8]) -> Result<()> {
        let seal = seal(engine, digest, code);
        files::replace(&self.path(engine, digest), &[&MAGIC[..], seal.as_bytes(), code].concat())?;
        if let Err(error) = self.prune() {
            tracing::debug!("old compiled plugins could not be removed: {error:#}");
        }
        Ok(())
    }

    /// Returns the place of the compiled functions of this engine.
    pub(super) fn functions(&self, engine: &wasmtime::Engine) -> Packs {
        Packs { directory: self.directory.join("functions"), compatibility: compatibility(engine) }
    }

    fn path(&self, engine: &wasmtime::Engine, digest: &Digest) -> PathBuf {
        self.directory.join(format!("{digest}-{:016x}.compiled", compatibility(engine)))
    }

    fn prune(&self) -> Result<()> {
        let mut files: Vec<(SystemTime, PathBuf)> = fs::read_dir(&self.directory)?
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let found = entry.metadata().ok()?;
                found.is_file().then_some((found.modified().ok()?, entry.path()))
            })
            .collect();
        files.sort();
        let surplus = files.len().saturating_sub(FILES_MAX);
        files[..surplus].iter().try_for_each(|(_, path)| fs::remove_file(path))?;
        Ok(())
    }
}

/// The first bytes of a file. The digest follows, and then the code.
const MAGIC: &[u8; 16] = b"bennu compiled 1";
const SEAL_BYTES: usize = 32;

/// Computes the digest in a file. It covers the code, the component and the engine, so a file under another file's
/// name is detected too.
fn seal(engine: &wasmtime::Engine, component: &Digest, code: &[u8]) -> Digest {
    Digest::of_pieces(&[component.as_bytes(), &compatibility(engine).to_le_bytes(), code])
}

/// Returns a hash of wasmtime's version, the processor, the settings, and what the host wraps core modules with. Engines
/// with the same hash can run each other's code for the same file.
fn compatibility(engine: &wasmtime::Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    (env!("CARGO_PKG_VERSION"), ADAPTER).hash(&mut hasher);
    hasher.finish()
}

/// Reads the code in a file, and verifies it.
fn read(mut file: &File, engine: &wasmtime::Engine, digest: &Digest) -> Result<Vec<u8>> {
    let found = check_owner(file)?;
    let mut start = [0; MAGIC.len() + SEAL_BYTES];
    file.read_exact(&mut start).context("it is truncated")?;
    let mut code = Vec::with_capacity(usize::try_from(found.len())?);
    file.read_to_end(&mut code)?;
    let (magic, sealed) = start.split_at(MAGIC.len());
    if magic != MAGIC || sealed != seal(engine, digest, &code).as_bytes() {
        bail!("its content is not what the host wrote");
    }
    // The modification time records the last use, by which `prune` sorts.
    let _ = file.set_modified(SystemTime::now());
    Ok(code)
}

/// Returns a file's metadata, if it is a file that only this user may write.
pub(super) fn check_owner(file: &File) -> Result<Metadata> {
    let found = file.metadata()?;
    let user = rustix::process::geteuid().as_raw();
    if !found.is_file() || found.uid() != user || found.mode() & 0o022 != 0 {
        bail!("it is not a file that only this user may write");
    }
    Ok(found)
}

fn deserialize(engine: &wasmtime::Engine, code: &[u8]) -> Result<Component> {
    #[allow(unsafe_code, reason = "see below")]
    // SAFETY: `store` wrote this code, and it came from this engine's own compiler: `read` has verified a digest of
    // the code, the component and the engine's compatibility hash. The bytes are in the host's own memory, so nothing
    // changes them after that. A forged digest would need write access to the directory. Only this user has it
    // (`open` has checked that), and a process of this user can run code without the cache.
    let component = unsafe { Component::deserialize(engine, code) };
    Ok(component?)
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
    fn a_stored_file_is_found_and_a_damaged_one_is_removed() -> Result<()> {
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
    fn a_file_that_differs_in_one_bit_is_not_run() -> Result<()> {
        let home = tempfile::tempdir()?;
        let cache = Cache::open(&home.path().join("compiled"))?;
        let engine = wasmtime::Engine::default();
        let bytes = wat::parse_str("(component (core module (func (export \"f\") unreachable)))")?;
        let digest = Digest::of(&bytes);
        let path = cache.path(&engine, &digest);
        let code = engine.precompile_component(&bytes)?;
        cache.store(&engine, &digest, &code)?;
        let good = fs::read(&path)?;
        for at in (0..good.len()).step_by(good.len() / 97) {
            let mut damaged = good.clone();
            damaged[at] ^= 1;
            fs::write(&path, damaged)?;
            assert!(cache.find(&engine, &digest).is_none(), "the byte {at} of {} was changed", good.len());
            cache.store(&engine, &digest, &code)?;
        }
        for length in [0, 1, MAGIC.len(), MAGIC.len() + SEAL_BYTES, good.len() - 1] {
            fs::write(&path, &good[..length])?;
            assert!(cache.find(&engine, &digest).is_none(), "it was cut to {length} bytes");
        }
        fs::write(&path, [&*good, b"more"].concat())?;
        assert!(cache.find(&engine, &digest).is_none(), "bytes were added");
        Ok(())
    }

    #[test]
    fn a_file_of_another_component_or_writable_by_others_is_not_run() -> Result<()> {
        let home = tempfile::tempdir()?;
        let cache = Cache::open(&home.path().join("compiled"))?;
        let engine = wasmtime::Engine::default();
        let bytes = wat::parse_str("(component)")?;
        let (digest, other) = (Digest::of(&bytes), Digest::of(b"other"));
        cache.store(&engine, &digest, &engine.precompile_component(&bytes)?)?;
        fs::copy(cache.path(&engine, &digest), cache.path(&engine, &other))?;
        assert!(cache.find(&engine, &other).is_none(), "the file has another component's name");
        fs::set_permissions(cache.path(&engine, &digest), fs::Permissions::from_mode(0o620))?;
        assert!(cache.find(&engine, &digest).is_none(), "others may write the file");
        assert!(!cache.path(&engine, &digest).exists());
        Ok(())
    }

    #[test]
    fn the_number_of_files_is_limited() -> Result<()> {
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
