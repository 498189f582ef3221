//! The data directory, and the one file in it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::embedded::{Embedded, OpeningError};
use super::engine::{Engine, EngineFuture, Snapshot, Writes};
use crate::files;

/// The file's name.
const FILE: &str = "bennu.redb";

/// Its name until it is complete.
const PARTIAL: &str = "bennu.redb.partial";

/// The engine, and the lock of its directory: nobody else makes the file, has it open, or takes it while it is opened anew.
pub(super) struct Held {
    engine: Embedded,
    // Dropped after the engine, as fields are in their order.
    _lock: File,
}

/// Opens the engine in a directory. What isn't there is made, for this user alone.
pub(super) fn open(directory: &Path, cache_bytes: usize) -> Result<Held> {
    let shown = directory.display();
    let is_new = !directory.exists();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("making the data directory {shown}"))?;
    let lock = File::open(directory).with_context(|| format!("opening the data directory {shown}"))?;
    let path = directory.join(FILE);
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!("{}", in_use(&path)),
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("locking the data directory {shown}"));
        }
    }
    if !path.exists() {
        make(&directory.join(PARTIAL), &path)?;
    }
    check_not_empty(&path)?;
    let engine = opened(&path, cache_bytes)?;
    // Else a power loss could take the file's name away, or the directory's.
    sync(directory)?;
    if is_new && let Some(parent) = fs::canonicalize(directory)?.parent() {
        sync(parent)?;
    }
    Ok(Held { engine, _lock: lock })
}

impl Engine for Held {
    fn snapshot(&mut self) -> EngineFuture<'_, std::sync::Arc<dyn Snapshot>> {
        self.engine.snapshot()
    }

    fn apply<'a>(&'a mut self, writes: &'a Writes) -> EngineFuture<'a, ()> {
        self.engine.apply(writes)
    }

    fn reopen(&mut self) -> EngineFuture<'_, ()> {
        self.engine.reopen()
    }
}

/// A command that closes a data directory to other users of the machine, if they may look into it, or into a file of it.
///
/// # Errors
/// Where it can't be looked at.
pub fn open_to_others(directory: &Path) -> std::io::Result<Option<String>> {
    let is_open = |path: &Path| Ok(fs::metadata(path)?.permissions().mode() & 0o077 != 0);
    let mut found = is_open(directory)?;
    for entry in fs::read_dir(directory)? {
        // What is within a directory that is closed need not be.
        found = found || entry.and_then(|entry| is_open(&entry.path())).unwrap_or(false);
    }
    Ok(found.then(|| format!("chmod -R go= {}", quoted(&absolute(directory)))))
}

/// A path that means the same wherever one is.
#[must_use]
pub fn absolute(path: &Path) -> PathBuf {
    fs::canonicalize(path).or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+,@".contains(&byte);
    if text.bytes().all(is_plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn in_use(path: &Path) -> String {
    format!(
        "{} is in use by another bennu: stop that one, or give this one a data directory of its own",
        path.display()
    )
}

/// Makes the file: a crash leaves either a whole one, or none of that name. For redb takes one that it had only begun to
/// write for something else.
fn make(partial: &Path, path: &Path) -> Result<()> {
    let making = || format!("making {}", path.display());
    if partial.exists() {
        fs::remove_file(partial).with_context(making)?;
    }
    // Its content is the plugins', so that others may not read it even where they may look into the directory.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(partial).with_context(making)?;
    drop(opened(partial, 0)?);
    fs::rename(partial, path).with_context(making)
}

/// A store is never empty, because it gets its name once it is complete. redb would make a new database of an empty file, and
/// what plugins have stored would be gone without a word.
fn check_not_empty(path: &Path) -> Result<()> {
    let shown = path.display();
    let found = fs::metadata(path).with_context(|| format!("opening {shown}"))?;
    ensure!(
        !found.is_file() || found.len() > 0,
        "{shown} is empty, though a store never is: what it held is lost; if a copy of the file or an export is at hand, \
         move this file away and restore that, and otherwise remove this file to begin with an empty store"
    );
    Ok(())
}

fn opened(path: &Path, cache_bytes: usize) -> Result<Embedded> {
    let shown = path.display();
    match Embedded::open(path, cache_bytes) {
        Ok(engine) => Ok(engine),
        Err(OpeningError::InUse) => bail!("{}", in_use(path)),
        Err(OpeningError::Failed(error)) => bail!(
            "{shown} can't be opened: {error}; if it is no store of bennu, or is damaged beyond repair, move it away, and \
             import what was exported before"
        ),
    }
}

fn sync(directory: &Path) -> Result<()> {
    files::sync_directory(directory).with_context(|| format!("syncing the directory {}", directory.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_made_is_for_this_user_alone() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("some").join("data");
        drop(open(&directory, 1 << 20).unwrap());
        assert_eq!((mode(&directory), mode(&directory.join(FILE))), (0o700, 0o600));
        drop(open(&directory, 1 << 20).unwrap());
        assert_eq!(open_to_others(&directory).unwrap(), None);
    }

    #[test]
    fn a_directory_that_others_may_look_into_is_closed_by_the_command_that_is_given() {
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
    fn a_second_host_learns_what_to_do() {
        let place = tempfile::tempdir().unwrap();
        let first = open(place.path(), 1 << 20).unwrap();
        let error = open(place.path(), 1 << 20).err().unwrap().to_string();
        assert!(error.contains("is in use by another bennu: stop that one"), "{error}");
        drop(first);
        open(place.path(), 1 << 20).unwrap();
    }

    #[test]
    fn what_a_crash_left_of_a_file_in_the_making_is_made_anew() {
        let place = tempfile::tempdir().unwrap();
        let partial = place.path().join(PARTIAL);
        fs::write(&partial, vec![0; 8192]).unwrap();
        drop(open(place.path(), 1 << 20).unwrap());
        assert!(!partial.exists());
        drop(open(place.path(), 1 << 20).unwrap());
    }

    #[test]
    fn another_file_of_that_name_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join(FILE);
        fs::write(&path, "precious").unwrap();
        let error = open(place.path(), 1 << 20).err().unwrap().to_string();
        assert!(error.contains("bennu.redb can't be opened"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn an_empty_file_is_no_new_store() {
        let place = tempfile::tempdir().unwrap();
        drop(open(place.path(), 1 << 20).unwrap());
        let path = place.path().join(FILE);
        File::create(&path).unwrap();
        let error = open(place.path(), 1 << 20).err().unwrap().to_string();
        assert!(error.contains("is empty, though a store never is"), "{error}");
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    }

    #[test]
    fn a_file_that_was_cut_off_is_said() {
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
