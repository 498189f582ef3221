//! The check of the files in a data directory that no host uses.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;

use super::backing::forget_cached;
use super::directory::{FILE, check_not_empty, locked};
use super::embedded::Embedded;
use super::log::{LOG_FILES, replay};
use super::read_only::ReadOnlyFile;

/// The files of an undamaged store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedFiles {
    /// The file of the tree.
    pub file: PathBuf,
    /// Its length in bytes.
    pub bytes: u64,
    /// The commits that only the log has. After a crash there are some, and the next start writes them to the tree.
    pub commits: u64,
}

/// Reads all files of the store in a data directory, and checks them: each page of the tree by its checksum, and each record of the
/// log. It changes nothing. Until it is done, no host can use the directory.
///
/// # Errors
/// If there is no store, a host uses it, or a file is damaged. The message says which file, and what to do.
pub fn check_files(directory: &Path, cache_bytes: usize) -> Result<CheckedFiles> {
    let _lock = locked(directory)?;
    let path = directory.join(FILE);
    check_not_empty(&path)?;
    let opening = || format!("opening {}", path.display());
    let file = File::open(&path).with_context(opening)?;
    // What the system has in memory may be what the disk doesn't have.
    forget_cached(&file).with_context(opening)?;
    let bytes = file.metadata().with_context(opening)?.len();
    let tree = ReadOnlyFile::new(file).with_context(opening)?;
    let stored = Embedded::checked(tree, cache_bytes).map_err(|error| {
        anyhow!(
            "{} is damaged, or isn't a store of bennu: {error}; move the data directory away, and restore a backup, or import an export \
             if you have no backup; the log wasn't checked, because it can't be used without this file",
            path.display()
        )
    })?;
    let [first, second] = LOG_FILES.map(|name| log_file(&directory.join(name)));
    let found = replay([first?, second?], stored);
    let found = found.map_err(|damage| anyhow!("{} is undamaged, but {damage}", path.display()))?;
    Ok(CheckedFiles { file: path, bytes, commits: found.batches })
}

/// Reads a file of the log. After a host has ended in order, there is none.
fn log_file(path: &Path) -> Result<Bytes> {
    let reading = || format!("reading {}", path.display());
    match File::open(path) {
        Ok(file) => {
            forget_cached(&file).with_context(reading)?;
            Ok(fs::read(path).with_context(reading)?.into())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Bytes::new()),
        Err(error) => Err(error).with_context(reading),
    }
}
