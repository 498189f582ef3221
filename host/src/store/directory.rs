//! The store's files in the data directory, and the lock of the directory.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use redb::StorageBackend;
use redb::backends::FileBackend;

use super::backing::{PageReads, forget_cached};
use super::embedded::{Embedded, OpeningError};
use super::engine::{Engine, EngineError, EngineFuture, Snapshot, Writes};
use super::log::{LOG_FILES, LogCounts, Opening};
use super::logged::{LogLimits, Logged};
use crate::files;

/// The name of the tree's file.
pub(super) const FILE: &str = "bennu.redb";

/// The file's name until it is complete.
const PARTIAL: &str = "bennu.redb.partial";

/// The engine, and the lock of its directory. The lock keeps other processes from creating the file, and from opening it,
/// even in the moment in which this process reopens it.
pub(super) struct Held {
    engine: Logged,
    directory: PathBuf,
    logs: [PathBuf; 2],
    // Fields are dropped in their order, so the lock is released after the engine is closed.
    /// None while another process may have the files.
    lock: Option<DirectoryLock>,
}

/// Another process uses a store. The text says which one, and what to do.
#[derive(Debug)]
pub struct InUse(pub(super) String);

/// An empty data directory, which no other process can use until a store is put into it.
pub(super) struct EmptyDirectory {
    directory: PathBuf,
    workplace: PathBuf,
    _lock: DirectoryLock,
}

/// The directory in which a restore works.
const WORKPLACE: &str = "restore.partial";

/// The directory that file systems have at their root.
const LOST_AND_FOUND: &str = "lost+found";

/// Opens the engine in a directory. Creates the directory and the file if they are missing, accessible to this user only.
pub(super) fn open(directory: &Path, cache_bytes: usize, limits: LogLimits) -> Result<Held> {
    let shown = directory.display();
    let is_new = !directory.exists();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("creating the data directory {shown}"))?;
    let lock = locked(directory)?;
    let path = directory.join(FILE);
    if !path.exists() {
        make(&directory.join(PARTIAL), &path)?;
    }
    check_not_empty(&path)?;
    let tree = opened(&path, cache_bytes)?;
    let logs = LOG_FILES.map(|name| directory.join(name));
    logs.iter().try_for_each(|log| log_file(log).map(drop)).with_context(|| format!("creating the log in {shown}"))?;
    // Without these syncs, a power loss could remove the files' names, or the directory's.
    sync(directory)?;
    if is_new && let Some(parent) = fs::canonicalize(directory)?.parent() {
        sync(parent)?;
    }
    let paths = logs.clone();
    let opener = move |which: usize, opening| log_backend(&paths[which], opening);
    let engine = Logged::open(tree, Box::new(opener), limits);
    let engine = engine.map_err(|error| anyhow!("{} can't be opened: {error}", path.display()))?;
    Ok(Held { engine, directory: directory.to_owned(), logs, lock: Some(lock) })
}

/// Whether no host has a data directory. It may change at any time.
///
/// # Errors
/// If the directory can't be opened or locked.
pub fn is_free(directory: &Path) -> io::Result<bool> {
    match File::open(directory)?.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

impl Engine for Held {
    fn snapshot(&mut self) -> EngineFuture<'_, Arc<dyn Snapshot>> {
        self.engine.snapshot()
    }

    fn apply<'a>(&'a mut self, writes: &'a Writes) -> EngineFuture<'a, ()> {
        self.engine.apply(writes)
    }

    fn reopen(&mut self) -> EngineFuture<'_, ()> {
        self.engine.reopen()
    }

    /// Removes the log's files, once the tree has all of their batches. So one file has everything while no host runs.
    fn close(&mut self) -> EngineFuture<'_, ()> {
        Box::pin(async {
            self.engine.close().await?;
            self.logs.iter().try_for_each(fs::remove_file).map_err(EngineError::new)
        })
    }

    /// Leaves the files as after a close, and gives up the lock of the directory.
    fn release(&mut self) -> EngineFuture<'_, ()> {
        Box::pin(async {
            self.engine.release().await?;
            self.logs.iter().try_for_each(fs::remove_file).map_err(EngineError::new)?;
            self.lock = None;
            Ok(())
        })
    }

    fn reclaim(&mut self) -> EngineFuture<'_, ()> {
        Box::pin(async {
            if self.lock.is_none() {
                self.lock = Some(locked(&self.directory).map_err(|error| EngineError::new(format!("{error:#}")))?);
            }
            self.engine.reclaim().await
        })
    }

    fn log_counts(&self) -> Arc<LogCounts> {
        self.engine.log_counts()
    }

    fn page_reads(&self) -> Arc<PageReads> {
        self.engine.page_reads()
    }
}

/// Creates a data directory if it is missing, accessible to this user only, and locks it until the lock is dropped. For a store that
/// is elsewhere: the host keeps builds and its key in the directory.
///
/// # Errors
/// If it can't be created, or another process has it.
pub fn claim_directory(directory: &Path) -> Result<DirectoryLock> {
    let creating = || format!("creating the data directory {}", directory.display());
    DirBuilder::new().recursive(true).mode(0o700).create(directory).with_context(creating)?;
    locked(directory)
}

/// Whether a data directory has a store.
#[must_use]
pub fn has_store(directory: &Path) -> bool {
    directory.join(FILE).exists()
}

/// Returns a shell command that removes other users' access to a data directory. Returns none if they have no access to the
/// directory or to a file in it.
///
/// # Errors
/// If the directory can't be read.
pub fn open_to_others(directory: &Path) -> std::io::Result<Option<String>> {
    let is_open = |path: &Path| Ok(fs::metadata(path)?.permissions().mode() & 0o077 != 0);
    let mut found = is_open(directory)?;
    for entry in fs::read_dir(directory)? {
        // The contents of subdirectories aren't checked: if a subdirectory is closed, its contents are protected. An entry
        // that can't be read is skipped.
        found = found || entry.and_then(|entry| is_open(&entry.path())).unwrap_or(false);
    }
    Ok(found.then(|| format!("chmod -R go= {}", quoted(&absolute(directory)))))
}

/// Returns the absolute form of a path.
#[must_use]
pub fn absolute(path: &Path) -> PathBuf {
    fs::canonicalize(path).or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

/// Quotes a path for a shell.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+,@".contains(&byte);
    if text.bytes().all(is_plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// The lock of a data directory. It ends when this is dropped.
pub struct DirectoryLock(File);

impl Drop for DirectoryLock {
    /// Closing the file isn't enough: a child process has the same file between `fork` and `exec`.
    fn drop(&mut self) {
        // It fails only if the file is closed or isn't lockable. Then there is no lock.
        let _ = self.0.unlock();
    }
}

/// Locks a data directory.
pub(super) fn locked(directory: &Path) -> Result<DirectoryLock> {
    let shown = directory.display();
    let lock = File::open(directory).with_context(|| format!("opening the data directory {shown}"))?;
    match lock.try_lock() {
        Ok(()) => Ok(DirectoryLock(lock)),
        Err(TryLockError::WouldBlock) => Err(InUse::file(&directory.join(FILE)).into()),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking the data directory {shown}")),
    }
}

impl InUse {
    fn file(path: &Path) -> Self {
        let path = path.display();
        Self(format!("{path} is in use by another bennu: stop that one, or give this one a data directory of its own"))
    }
}

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InUse {}

impl EmptyDirectory {
    /// Locks a directory that has no files, and creates it if it is missing.
    ///
    /// # Errors
    /// If it isn't empty, is in use, or can't be created.
    pub(super) fn claim(directory: &Path) -> Result<Self> {
        let shown = directory.display();
        let creating = || format!("creating the data directory {shown}");
        DirBuilder::new().recursive(true).mode(0o700).create(directory).with_context(creating)?;
        let lock = locked(directory)?;
        for entry in fs::read_dir(directory).with_context(|| format!("reading the directory {shown}"))? {
            let name = entry?.file_name();
            ensure!(
                name == WORKPLACE || name == LOST_AND_FOUND,
                "{shown} isn't empty: it has {}; a backup is restored into an empty directory, or a new one",
                name.display()
            );
        }
        let workplace = directory.join(WORKPLACE);
        if workplace.exists() {
            // An earlier restore was interrupted.
            fs::remove_dir_all(&workplace).with_context(|| format!("removing {}", workplace.display()))?;
        }
        Ok(Self { directory: directory.to_owned(), workplace, _lock: lock })
    }

    /// Returns the directory in which the store is made.
    pub(super) fn workplace(&self) -> &Path {
        &self.workplace
    }

    /// Gives the store that was made, and closed, its name.
    ///
    /// # Errors
    /// If the system fails.
    pub(super) fn fill(self) -> Result<()> {
        let path = self.directory.join(FILE);
        fs::rename(self.workplace.join(FILE), &path).with_context(|| format!("creating {}", path.display()))?;
        sync(&self.directory)?;
        let parent = absolute(&self.directory);
        parent.parent().map_or(Ok(()), sync)
    }
}

impl Drop for EmptyDirectory {
    /// Removes what a failed restore has made.
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.workplace)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("{} can't be removed: {error}", self.workplace.display());
        }
    }
}

/// Creates the file under its partial name, and then renames it. So a crash leaves either a complete file or none with the
/// final name. redb can't open a file that it has written only in part.
fn make(partial: &Path, path: &Path) -> Result<()> {
    let making = || format!("creating {}", path.display());
    if partial.exists() {
        fs::remove_file(partial).with_context(making)?;
    }
    // The file has the plugins' data. So other users must not be able to read it, even if they can read the directory.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(partial).with_context(making)?;
    drop(opened(partial, 0)?);
    fs::rename(partial, path).with_context(making)
}

/// Refuses an empty file. A store is never empty, because the file gets its name once it is complete. redb would create a
/// new database in an empty file, and the loss of the plugins' data would go unnoticed.
pub(super) fn check_not_empty(path: &Path) -> Result<()> {
    let shown = path.display();
    let found = fs::metadata(path).with_context(|| format!("opening {shown}"))?;
    ensure!(
        !found.is_file() || found.len() > 0,
        "{shown} is empty, though a store never is: its data is lost; if you have a copy of the file or an export, move \
         this file away and restore the copy or the export; if you have none, remove this file to start with an empty store"
    );
    Ok(())
}

fn opened(path: &Path, cache_bytes: usize) -> Result<Embedded> {
    let shown = path.display();
    match Embedded::open(path, cache_bytes) {
        Ok(engine) => Ok(engine),
        Err(OpeningError::InUse) => Err(InUse::file(path).into()),
        Err(OpeningError::Failed(error)) => bail!(
            "{shown} can't be opened: {error}; if it isn't a store of bennu, or is damaged, move the data directory away, and \
             restore a backup, or import an export if you have no backup"
        ),
    }
}

/// Opens a file of the log, and creates it if it is missing.
fn log_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn log_backend(path: &Path, opening: Opening) -> io::Result<Box<dyn StorageBackend>> {
    let file = log_file(path)?;
    if opening == Opening::Again {
        forget_cached(&file)?;
    }
    let backend = FileBackend::new(file).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(Box::new(backend))
}

fn sync(directory: &Path) -> Result<()> {
    files::sync_directory(directory).with_context(|| format!("syncing the directory {}", directory.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn open(directory: &Path, cache_bytes: usize) -> Result<Held> {
        super::open(directory, cache_bytes, LogLimits::default())
    }

    #[test]
    fn a_lock_ends_although_a_child_process_has_the_file() {
        let place = tempfile::tempdir().unwrap();
        let lock = locked(place.path()).unwrap();
        // What a child has between `fork` and `exec`.
        let _inherited = lock.0.try_clone().unwrap();
        assert!(locked(place.path()).is_err());
        drop(lock);
        locked(place.path()).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_created_directory_and_file_are_accessible_to_this_user_only() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("some").join("data");
        drop(open(&directory, 1 << 20).unwrap());
        assert_eq!((mode(&directory), mode(&directory.join(FILE))), (0o700, 0o600));
        drop(open(&directory, 1 << 20).unwrap());
        assert_eq!(open_to_others(&directory).unwrap(), None);
    }

    #[test]
    fn a_directory_that_others_can_read_is_closed_by_the_command_that_is_given() {
        let place = tempfile::tempdir().unwrap();
        for (name, directory_mode, file_mode) in [("a", 0o755, 0o600), ("it's b", 0o700, 0o644), ("c", 0o770, 0o640)] {
            let directory = place.path().join(name);
            drop(open(&directory, 1 << 20).unwrap());
            fs::create_dir(directory.join("builds")).unwrap();
            for (path, mode) in [(&directory, directory_mode), (&directory.join(FILE), file_mode)] {
                fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            }
            let command = open_to_others(&directory).unwrap().unwrap();
            let done = std::process::Command::new("sh").args(["-c", &command]).status().unwrap();
            assert!(done.success(), "{command}");
            assert_eq!((mode(&directory), mode(&directory.join(FILE))), (0o700, 0o600), "{command}");
            assert_eq!(open_to_others(&directory).unwrap(), None);
        }
    }

    #[test]
    fn the_error_of_a_second_host_says_what_to_do() {
        let place = tempfile::tempdir().unwrap();
        let first = open(place.path(), 1 << 20).unwrap();
        let error = super::open(place.path(), 1 << 20, LogLimits::default()).err().unwrap().to_string();
        assert!(error.contains("is in use by another bennu: stop that one"), "{error}");
        drop(first);
        open(place.path(), 1 << 20).unwrap();
    }

    #[test]
    fn a_partial_file_that_a_crash_left_is_created_again() {
        let place = tempfile::tempdir().unwrap();
        let partial = place.path().join(PARTIAL);
        fs::write(&partial, vec![0; 8192]).unwrap();
        drop(open(place.path(), 1 << 20).unwrap());
        assert!(!partial.exists());
        drop(open(place.path(), 1 << 20).unwrap());
    }

    #[test]
    fn another_file_of_that_name_stays_unchanged() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join(FILE);
        fs::write(&path, "precious").unwrap();
        let error = open(place.path(), 1 << 20).err().unwrap().to_string();
        assert!(error.contains("bennu.redb can't be opened"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn an_empty_file_is_refused() {
        let place = tempfile::tempdir().unwrap();
        drop(open(place.path(), 1 << 20).unwrap());
        let path = place.path().join(FILE);
        File::create(&path).unwrap();
        let error = open(place.path(), 1 << 20).err().unwrap().to_string();
        assert!(error.contains("is empty, though a store never is"), "{error}");
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    }

    #[test]
    fn a_truncated_file_is_refused() {
        let place = tempfile::tempdir().unwrap();
        drop(open(place.path(), 1 << 20).unwrap());
        let path = place.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        for length in [1, 100, 512, 4096, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            let error = open(place.path(), 1 << 20).err().map(|error| error.to_string());
            assert!(error.is_some_and(|error| error.contains("bennu.redb can't be opened")), "{length} bytes");
        }
    }
}
