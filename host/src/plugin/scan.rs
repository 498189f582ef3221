//! Finds the files that are plugins, and detects which of them have changed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, bail};
use tokio::time::{Instant, sleep_until};

use super::script::is_script;

/// A source of plugins: a directory, in which every `.wasm` file and every script is a plugin, or one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A directory. Its subdirectories aren't searched.
    Directory(PathBuf),
    /// A file.
    File(PathBuf),
}

impl Source {
    /// Returns the source at a path.
    ///
    /// # Errors
    /// Returns an error if the path doesn't exist, if the directory can't be listed, or if the file's name can't be a
    /// plugin's.
    pub fn find(path: &Path) -> Result<Self> {
        let found = fs::metadata(path).with_context(|| format!("looking for plugins at {}", path.display()))?;
        if found.is_dir() {
            // A directory that can't be listed would look like one without plugins, and so without a gatekeeper.
            fs::read_dir(path).with_context(|| format!("looking for plugins at {}", path.display()))?;
            return Ok(Self::Directory(path.to_owned()));
        }
        if name_of(path).is_none() {
            bail!("{} is not a plugin: a plugin's file is named NAME.wasm, NAME.js or NAME.ts", path.display());
        }
        Ok(Self::File(path.to_owned()))
    }

    /// Returns the directory to watch.
    #[must_use]
    pub fn directory(&self) -> &Path {
        let here = Path::new(".");
        match self {
            Self::Directory(directory) => directory,
            Self::File(file) => file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(here),
        }
    }

    /// Returns whether the source is a directory without plugins.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Directory(_)) && self.files().is_empty()
    }

    /// Returns the plugins that exist now: each name with its file.
    #[must_use]
    pub fn plugins(&self) -> Vec<(String, PathBuf)> {
        let named = |file: PathBuf| Some((name_of(&file)?.to_owned(), file));
        self.files().into_iter().filter_map(named).collect()
    }

    /// Returns the files of the plugins that exist now.
    fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::File(file) => vec![file.clone()],
            Self::Directory(directory) => {
                let entries = fs::read_dir(directory).into_iter().flatten();
                let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
                let mut files: Vec<_> = paths.filter(|path| name_of(path).is_some() && path.is_file()).collect();
                // Two files of a directory may have the same plugin name. The first in this order is served at each scan.
                files.sort();
                files
            }
        }
    }
}

/// Returns a plugin's name, which is the stem of its file. Hidden files aren't plugins, because editors and copy
/// tools create such files.
#[must_use]
pub fn name_of(path: &Path) -> Option<&str> {
    let is_plugin = path.extension().is_some_and(|extension| extension == "wasm") || is_script(path);
    path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| is_plugin && !stem.starts_with('.'))
}

/// Metadata that differs between two versions of a file, so that a change is detected without reading the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    modified: Option<SystemTime>,
    /// The time of the last change of the file or its metadata (ctime), in seconds and nanoseconds since 1970. A
    /// program can set `modified`, but not this.
    changed: (i64, i64),
    size: u64,
    inode: u64,
    device: u64,
}

impl Stamp {
    pub(super) fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        let changed = (found.ctime(), found.ctime_nsec());
        let (modified, size, inode, device) = (found.modified().ok(), found.size(), found.ino(), found.dev());
        Some(Self { modified, changed, size, inode, device })
    }

    /// Returns whether the last change is so old that any later change gives the file another stamp. Some file
    /// systems store times in steps of one or two seconds, so two changes within one step have the same stamp.
    pub(super) fn is_final(&self) -> bool {
        let changed =
            u64::try_from(self.changed.0).map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        changed.is_ok_and(|changed| changed.elapsed().is_ok_and(|elapsed| elapsed > LEFT_ALONE))
    }
}

/// The result of a scan.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The files by plugin name, with their stamps.
    pub(super) plugins: BTreeMap<String, (PathBuf, Stamp)>,
    /// Files whose plugin name another file already has.
    pub(super) doubles: Vec<PathBuf>,
}

/// Returns all plugin files of the sources. If two files have the same plugin name, the file of the first source is
/// used.
pub(super) fn scan(sources: &[Source]) -> Found {
    let mut found = Found::default();
    for path in sources.iter().flat_map(Source::files) {
        let (Some(name), Some(stamp)) = (name_of(&path), Stamp::of(&path)) else { continue };
        match found.plugins.entry(name.to_owned()) {
            Entry::Vacant(entry) => drop(entry.insert((path, stamp))),
            // The same file may be configured twice: alone, and with its directory.
            Entry::Occupied(entry) if entry.get().1 == stamp => {}
            Entry::Occupied(_) => found.doubles.push(path),
        }
    }
    found
}

/// The maximum size of a component, in bytes.
const COMPONENT_BYTES_MAX: u64 = 128 << 20;

/// The minimum time between the two stamps of a file that must agree, and the maximum number of attempts.
const STAMPS_APART: Duration = Duration::from_millis(20);
const ATTEMPTS_MAX: usize = 100;

/// A file whose last change is older than this isn't being written, so the second stamp is taken without a wait, and
/// the host starts faster. The time is longer than the step of two seconds in the coarsest common file systems.
const LEFT_ALONE: Duration = Duration::from_secs(3);

/// A file's stamp, and when it was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimedStamp {
    pub(super) stamp: Stamp,
    pub(super) at: Instant,
}

impl TimedStamp {
    /// Reads a file's stamp now.
    fn at(path: &Path) -> Result<Self> {
        let stamp = Stamp::of(path).ok_or_else(|| anyhow!("it is gone"))?;
        Ok(Self { stamp, at: Instant::now() })
    }

    /// Waits until the next stamp may be taken. The waits of many files overlap if their first stamps were taken
    /// together.
    async fn settle(&self) {
        if !self.stamp.is_final() {
            sleep_until(self.at + STAMPS_APART).await;
        }
    }
}

/// Reads a file's content between two stamps that agree, because another program may still be writing the file.
/// `first` is used as the first stamp, if it is given.
///
/// # Errors
/// Returns an error if the file is gone, too large, or can't be read, or if it changes during every attempt.
pub(super) async fn read_settled(path: &Path, mut first: Option<TimedStamp>) -> Result<(Stamp, Vec<u8>)> {
    let reading = || format!("reading {}", path.display());
    for _ in 0..ATTEMPTS_MAX {
        let before = match first.take() {
            Some(first) => first,
            None => TimedStamp::at(path).with_context(reading)?,
        };
        before.settle().await;
        let before = before.stamp;
        if before.size > COMPONENT_BYTES_MAX {
            bail!("it has {} bytes; a plugin has at most {COMPONENT_BYTES_MAX}", before.size);
        }
        let bytes = tokio::fs::read(path).await.with_context(reading)?;
        if Stamp::of(path) == Some(before) {
            return Ok((before, bytes));
        }
    }
    Err(anyhow!("it kept changing while it was read")).with_context(reading)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wasm_files_of_a_directory_are_plugins() -> Result<()> {
        let home = tempfile::tempdir()?;
        let others =
            ["notes.txt", ".hidden.wasm", "half.wasm.partial", "types.d.ts", "room.test.ts", "room.spec.js", ".a.js"];
        for name in ["chat.wasm", "echo.wasm", "room.ts", "plain.js", "plain.ts"].into_iter().chain(others) {
            fs::write(home.path().join(name), "x")?;
        }
        fs::create_dir(home.path().join("folder.wasm"))?;
        let found = scan(&[Source::find(home.path())?]);
        assert_eq!(found.plugins.keys().collect::<Vec<_>>(), ["chat", "echo", "plain", "room"]);
        assert_eq!(found.doubles, [home.path().join("plain.ts")]);
        let other = tempfile::tempdir()?;
        fs::write(other.path().join("chat.wasm"), "y")?;
        let both = scan(&[Source::find(home.path())?, Source::find(other.path())?]);
        assert_eq!(both.doubles, [home.path().join("plain.ts"), other.path().join("chat.wasm")]);
        assert!(Source::find(&home.path().join("notes.txt")).is_err());
        assert!(Source::find(&home.path().join("absent")).is_err());
        Ok(())
    }
}
