//! Stores the compiled forms of single functions on the disk, so that a build that differs from an earlier one in a few
//! functions is compiled in a fraction of the time. Nearly all functions of a plugin in Python, JavaScript or Go are those
//! of the language's runtime.
//!
//! Each compilation writes the functions that it had to compile to one file, a pack. A pack begins with an index, which has
//! a digest of its own. The index has the digest of each function, so that a compilation reads and verifies only the
//! functions that it needs. A damaged pack or function is compiled again. The packs are in a subdirectory of the
//! [`Cache`](super::Cache), and have the same owner and the same permissions.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use wasmtime::CacheStore;

use super::Digest;
use super::cache::check_owner;

/// The maximum number of packs, and of their bytes together. Above it, the least recently used packs are removed.
const PACKS_MAX: usize = 128;
const BYTES_MAX: u64 = 256 << 20;

/// The maximum number of bytes of functions that wait in memory to be written to a pack. Further ones aren't stored.
const PACK_BYTES_MAX: usize = 128 << 20;

/// The first bytes of a pack. The digest of the index, its length, the index, and the functions follow.
const MAGIC: &[u8; 16] = b"bennu functions1";
const HEAD_BYTES: usize = MAGIC.len() + 32 + 4;

/// The suffix of a pack that isn't complete yet, and the time after which it never will be.
const PARTIAL: &str = ".partial";
const LEFT_AFTER: Duration = Duration::from_secs(3600);

/// An entry of an index: the function's key, its length, and the digest of its key and its content.
const ENTRY_BYTES: usize = KEY_BYTES + 4 + 32;
const KEY_BYTES: usize = 32;

/// The compiler's key of a function: a hash of all that its compiled form depends on.
///
/// In cranelift 0.135, the hash of a function also covers the exception tables of the trampoline that the same thread compiled before it,
/// because `DataFlowGraph::clear` leaves them. So with several threads a function has one of two keys, and may be
/// compiled and stored twice. A key never leads to wrong code.
type Key = [u8; KEY_BYTES];

/// The place of the packs that an engine can use. Others in the same directory are those of other versions of the host.
#[derive(Clone, Debug)]
pub(super) struct Packs {
    pub(super) directory: PathBuf,
    /// Engines with the same number can use each other's code.
    pub(super) compatibility: u64,
}

/// The compiled functions that compilations read and write. The compiler gets it once, for all compilations of an engine,
/// so it contains the state of those that run now. When none runs, it is empty.
#[derive(Debug, Default)]
pub(super) struct FunctionCache {
    /// The packs, for reading. The lock is held for writing only to begin and end a compilation.
    stored: RwLock<Stored>,
    /// The functions that were compiled since the last pack was written.
    fresh: Mutex<Fresh>,
}

#[derive(Debug, Default)]
struct Stored {
    /// The number of compilations that run.
    users: usize,
    packs: Vec<Pack>,
    places: HashMap<Key, Place>,
}

#[derive(Debug)]
struct Pack {
    path: PathBuf,
    file: File,
    was_used: AtomicBool,
}

/// Where a compiled function is.
#[derive(Clone, Copy, Debug)]
struct Place {
    pack: usize,
    start: u64,
    length: u32,
    digest: [u8; 32],
}

#[derive(Debug, Default)]
struct Fresh {
    bytes: usize,
    functions: Vec<(Key, Vec<u8>)>,
}

impl FunctionCache {
    /// Begins a compilation, which can use these packs. When the result is dropped, what was compiled is stored.
    pub(super) fn begin(&self, packs: Packs) -> Using<'_> {
        let mut stored = self.stored.write().unwrap_or_else(PoisonError::into_inner);
        stored.users += 1;
        if stored.users == 1 {
            stored.read_all(&packs);
        }
        Using { cache: self, packs }
    }

    /// Ends a compilation: stores what was compiled since the last one ended, and removes surplus packs.
    fn end(&self, packs: &Packs) {
        let fresh = std::mem::take(&mut *self.fresh());
        if let Err(error) = packs.store(&fresh.functions) {
            tracing::debug!("compiled functions could not be stored: {error:#}");
        }
        let mut stored = self.stored.write().unwrap_or_else(PoisonError::into_inner);
        stored.users = stored.users.saturating_sub(1);
        if stored.users == 0 {
            stored.note_uses();
            *stored = Stored::default();
            if let Err(error) = prune(&packs.directory) {
                tracing::debug!("old compiled functions could not be removed: {error:#}");
            }
        }
    }

    // No panic can leave the list half changed, so a poisoned lock is used like any other.
    fn fresh(&self) -> MutexGuard<'_, Fresh> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A compilation that runs.
pub(super) struct Using<'a> {
    cache: &'a FunctionCache,
    packs: Packs,
}

/// Also ends a compilation that has panicked.
impl Drop for Using<'_> {
    fn drop(&mut self) {
        self.cache.end(&self.packs);
    }
}

impl CacheStore for FunctionCache {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let key = Key::try_from(key).ok()?;
        let stored = self.stored.read().unwrap_or_else(PoisonError::into_inner);
        let place = stored.places.get(&key)?;
        let pack = stored.packs.get(place.pack)?;
        let mut code = vec![0; place.length as usize];
        pack.file.read_exact_at(&mut code, place.start).ok()?;
        if *digest_of(&key, &code).as_bytes() != place.digest {
            return None;
        }
        pack.was_used.store(true, Ordering::Relaxed);
        Some(Cow::Owned(code))
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        let Ok(key) = Key::try_from(key) else { return false };
        // Without a directory, no compilation is counted, and nothing would ever take the functions.
        let has_directory = self.stored.read().unwrap_or_else(PoisonError::into_inner).users > 0;
        let mut fresh = self.fresh();
        if !has_directory || fresh.bytes + value.len() > PACK_BYTES_MAX {
            return false;
        }
        fresh.bytes += value.len();
        fresh.functions.push((key, value));
        true
    }
}

impl Stored {
    fn read_all(&mut self, packs: &Packs) {
        let all = list(&packs.directory).unwrap_or_default().into_iter().map(|(_, _, path)| path);
        for path in all.filter(|path| packs.has(path)) {
            if let Err(error) = self.read(packs, &path) {
                tracing::warn!("the compiled functions in {} can't be used: {error:#}", path.display());
                let _ = fs::remove_file(&path);
            }
        }
    }

    /// Reads and verifies the index of a pack.
    fn read(&mut self, packs: &Packs, path: &Path) -> Result<()> {
        let file = File::open(path)?;
        let length = check_owner(&file)?.len();
        let mut head = [0; HEAD_BYTES];
        file.read_exact_at(&mut head, 0).context("it is truncated")?;
        let (magic, rest) = head.split_at(MAGIC.len());
        let (seal, index_bytes) = rest.split_at(32);
        let index_bytes = u32::from_le_bytes(index_bytes.try_into()?) as usize;
        if magic != MAGIC || (HEAD_BYTES + index_bytes) as u64 > length {
            bail!("it is not a file of this host");
        }
        let mut index = vec![0; index_bytes];
        file.read_exact_at(&mut index, HEAD_BYTES as u64)?;
        if packs.seal(&index).as_bytes() != seal {
            bail!("its index is not what the host wrote");
        }
        let mut start = (HEAD_BYTES + index_bytes) as u64;
        for entry in index.chunks_exact(ENTRY_BYTES) {
            let (key, rest) = entry.split_at(KEY_BYTES);
            let (function_bytes, digest) = rest.split_at(4);
            let function_bytes = u32::from_le_bytes(function_bytes.try_into()?);
            let place = Place { pack: self.packs.len(), start, length: function_bytes, digest: digest.try_into()? };
            start += u64::from(function_bytes);
            // The length isn't trusted before memory is allocated for it.
            if start <= length {
                self.places.insert(key.try_into()?, place);
            }
        }
        self.packs.push(Pack { path: path.to_owned(), file, was_used: AtomicBool::new(false) });
        Ok(())
    }

    /// The modification time of a pack records its last use, by which [`prune`] sorts.
    fn note_uses(&self) {
        for pack in &self.packs {
            if pack.was_used.load(Ordering::Relaxed) {
                // Opened again, because a file that was opened for reading may be touched only by its owner.
                let _ = File::open(&pack.path).and_then(|file| file.set_modified(SystemTime::now()));
            }
        }
    }
}

impl Packs {
    /// The end of the names of these packs.
    fn suffix(&self) -> String {
        format!("-{:016x}.functions", self.compatibility)
    }

    fn has(&self, path: &Path) -> bool {
        path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(&self.suffix()))
    }

    /// Computes the digest of an index. A pack of another engine is detected, whatever its name is.
    fn seal(&self, index: &[u8]) -> Digest {
        Digest::of_pieces(&[&self.compatibility.to_le_bytes(), index])
    }

    /// Writes functions to a new pack.
    fn store(&self, functions: &[(Key, Vec<u8>)]) -> Result<()> {
        if functions.is_empty() {
            return Ok(());
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let mut index = Vec::with_capacity(functions.len() * ENTRY_BYTES);
        for (key, code) in functions {
            index.extend(key);
            index.extend(u32::try_from(code.len())?.to_le_bytes());
            index.extend(digest_of(key, code).as_bytes());
        }
        let seal = self.seal(&index);
        let mut pack = [&MAGIC[..], seal.as_bytes(), &u32::try_from(index.len())?.to_le_bytes(), &index].concat();
        pack.reserve_exact(functions.iter().map(|(_, code)| code.len()).sum());
        functions.iter().for_each(|(_, code)| pack.extend(code));
        // It isn't synced, because a pack that a power loss damages is detected.
        let mut file = tempfile::Builder::new().suffix(PARTIAL).tempfile_in(&self.directory)?;
        file.write_all(&pack)?;
        file.persist(self.directory.join(format!("{seal}{}", self.suffix())))?;
        Ok(())
    }
}

fn digest_of(key: &Key, code: &[u8]) -> Digest {
    Digest::of_pieces(&[key, code])
}

/// Returns the packs with their times and sizes, the least recently used first.
fn list(directory: &Path) -> Result<Vec<(SystemTime, u64, PathBuf)>> {
    let mut packs = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "functions") {
            let found = fs::symlink_metadata(&path)?;
            packs.push((found.modified()?, found.len(), path));
        }
    }
    packs.sort();
    Ok(packs)
}

fn prune(directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        // Other processes may write now. A file that a killed process has left is old.
        let is_left = |modified: SystemTime| modified.elapsed().is_ok_and(|age| age > LEFT_AFTER);
        if path.to_string_lossy().ends_with(PARTIAL) && is_left(fs::symlink_metadata(&path)?.modified()?) {
            fs::remove_file(path)?;
        }
    }
    let packs = list(directory)?;
    let (mut count, mut bytes) = (packs.len(), packs.iter().map(|(_, bytes, _)| bytes).sum::<u64>());
    for (_, size, path) in packs {
        if count <= PACKS_MAX && bytes <= BYTES_MAX {
            break;
        }
        fs::remove_file(path)?;
        count -= 1;
        bytes -= size;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn key(number: u8) -> Key {
        [number; KEY_BYTES]
    }

    fn packs(directory: &Path) -> Packs {
        Packs { directory: directory.to_owned(), compatibility: 1 }
    }

    /// Stores functions in one compilation.
    fn compile(cache: &FunctionCache, directory: &Path, functions: &[(u8, &[u8])]) {
        let _using = cache.begin(packs(directory));
        for (number, code) in functions {
            assert!(cache.insert(&key(*number), code.to_vec()));
        }
    }

    /// Returns what a compilation finds.
    fn found(directory: &Path, number: u8) -> Option<Vec<u8>> {
        let cache = FunctionCache::default();
        let _using = cache.begin(packs(directory));
        cache.get(&key(number)).map(Cow::into_owned)
    }

    /// Writes a file that only this user may write.
    fn write_own(path: &Path, bytes: &[u8]) {
        fs::write(path, bytes).expect("a file");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("an owner");
    }

    #[test]
    fn a_stored_function_is_found_by_a_later_compilation() {
        let home = tempfile::tempdir().expect("a directory");
        let directory = home.path().join("functions");
        let cache = FunctionCache::default();
        compile(&cache, &directory, &[(1, b"one"), (2, b""), (3, b"three")]);
        compile(&cache, &directory, &[(4, b"four")]);
        for (number, code) in [(1, &b"one"[..]), (2, b""), (3, b"three"), (4, b"four")] {
            assert_eq!(found(&directory, number).as_deref(), Some(code));
        }
        assert_eq!(found(&directory, 5), None);
        assert!(cache.stored.read().expect("no panic").places.is_empty(), "nothing is kept between compilations");
        // Another engine has other packs, also if they have the wrong names.
        let other = Packs { directory: directory.clone(), compatibility: 2 };
        for (_, _, path) in list(&directory).expect("a directory") {
            fs::copy(&path, path.with_file_name(format!("x{}", other.suffix()))).expect("a copy");
        }
        let _using = cache.begin(other);
        assert!(cache.get(&key(1)).is_none());
    }

    #[test]
    fn nothing_is_kept_without_a_directory() {
        let cache = FunctionCache::default();
        assert!(!cache.insert(&key(1), b"one".to_vec()));
        assert!(cache.get(&key(1)).is_none());
    }

    /// A changed bit is found wherever it is, and so is a cut: the function is compiled again.
    #[test]
    fn a_damaged_pack_has_no_wrong_function() {
        let home = tempfile::tempdir().expect("a directory");
        let directory = home.path().join("functions");
        compile(&FunctionCache::default(), &directory, &[(1, b"one"), (2, b"two")]);
        let (_, _, path) = list(&directory).expect("a directory").remove(0);
        let good = fs::read(&path).expect("a pack");
        let damages = (0..good.len()).map(|at| {
            let mut damaged = good.clone();
            damaged[at] ^= 1;
            damaged
        });
        let cuts = (0..good.len()).map(|length| good[..length].to_vec());
        for damaged in damages.chain(cuts) {
            // An unusable pack was removed.
            write_own(&path, &damaged);
            for (number, code) in [(1, &b"one"[..]), (2, b"two")] {
                let found = found(&directory, number);
                assert!(found.is_none() || found.as_deref() == Some(code), "{found:?}");
            }
            let first = found(&directory, 1).is_some();
            let second = found(&directory, 2).is_some();
            assert!(!(first && second), "the damage was not noticed");
        }
        write_own(&path, &good);
        assert_eq!(found(&directory, 2).as_deref(), Some(&b"two"[..]));
    }

    #[test]
    fn the_number_of_packs_is_limited_and_the_last_used_stay() {
        let home = tempfile::tempdir().expect("a directory");
        let directory = home.path().join("functions");
        let cache = FunctionCache::default();
        compile(&cache, &directory, &[(0, b"zero")]);
        let (_, _, first) = list(&directory).expect("a directory").remove(0);
        for number in 1..=u8::try_from(PACKS_MAX + 2).expect("a small number") {
            // The first pack is used by each compilation, and is older than all others.
            let _using = cache.begin(packs(&directory));
            assert!(cache.get(&key(0)).is_some());
            assert!(cache.insert(&key(number), vec![number]));
        }
        let left = list(&directory).expect("a directory");
        assert_eq!(left.len(), PACKS_MAX);
        assert!(first.exists() && found(&directory, 1).is_none());
    }

    /// Compiles a module with these functions. Returns how many functions had to be compiled.
    fn compiled(directory: &Path, functions: &str) -> usize {
        let cache = std::sync::Arc::<FunctionCache>::default();
        let mut config = wasmtime::Config::new();
        // With several threads, a function has one of two keys; see [`Key`].
        config.parallel_compilation(false);
        config.enable_incremental_compilation(std::sync::Arc::clone(&cache) as _).expect("a cache");
        let engine = wasmtime::Engine::new(&config).expect("an engine");
        let module = wat::parse_str(format!("(module (memory 1) {functions})")).expect("a module");
        let _using = cache.begin(packs(directory));
        wasmtime::Module::from_binary(&engine, &module).expect("a valid module");
        cache.fresh().functions.len()
    }

    /// The key doesn't depend on the place of a function, nor on those of the functions that it calls.
    #[test]
    fn a_function_that_moves_within_its_module_is_found() {
        let home = tempfile::tempdir().expect("a directory");
        let two =
            "(func $add (export \"add\") (param i32 i32) (result i32) (i32.add (local.get 0) (i32.load (local.get 1))))
                   (func (export \"twice\") (param i32) (result i32) (call $add (local.get 0) (i32.const 7)))";
        let new = "(func (export \"new\") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 9)))";
        let first = compiled(home.path(), two);
        assert!(first >= 2, "{first}");
        assert_eq!(compiled(home.path(), two), 0);
        let one = compiled(home.path(), &format!("{new} {two}"));
        assert!(one <= first / 2, "{one} of {first}");
    }
}
