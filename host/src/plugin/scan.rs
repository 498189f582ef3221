//! Which files are plugins, and which of them have changed since they were last looked at.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, bail};
use tokio::time::{Instant, sleep_until};

/// Where plugins come from: a directory, all of whose `.wasm` files are plugins, or one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A directory. Its subdirectories aren't looked into.
    Directory(PathBuf),
    /// A file.
    File(PathBuf),
}

impl Source {
    /// Finds out what a path is.
    ///
    /// # Errors
    /// Where there is nothing, or a file whose name can't be a plugin's.
    pub fn find(path: &Path) -> Result<Self> {
        let found = fs::metadata(path).with_context(|| format!("looking for plugins at {}", path.display()))?;
        if found.is_dir() {
            // What can't be listed would look like a directory without plugins, and without a gatekeeper.
            fs::read_dir(path).with_context(|| format!("looking for plugins at {}", path.display()))?;
            return Ok(Self::Directory(path.to_owned()));
        }
        if name_of(path).is_none() {
            bail!("{} is not a plugin: a plugin's file is named NAME.wasm", path.display());
        }
        Ok(Self::File(path.to_owned()))
    }

    /// The directory to watch.
    #[must_use]
    pub fn directory(&self) -> &Path {
        let here = Path::new(".");
        match self {
            Self::Directory(directory) => directory,
            Self::File(file) => file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(here),
        }
    }

    /// Whether it is a directory without a plugin.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Directory(_)) && self.files().is_empty()
    }

    /// The plugins that are there now, by name.
    fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::File(file) => vec![file.clone()],
            Self::Directory(directory) => fs::read_dir(directory)
                .into_iter()
                .flatten()
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| name_of(path).is_some() && path.is_file())
                .collect(),
        }
    }
}

/// A plugin's name: its file's stem. Hidden files are none: editors and copiers leave such.
pub(super) fn name_of(path: &Path) -> Option<&str> {
    let is_wasm = path.extension().is_some_and(|extension| extension == "wasm");
    path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| is_wasm && !stem.starts_with('.'))
}

/// What tells one state of a file from another, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    modified: Option<SystemTime>,
    /// When anything of it was last changed, in seconds and nanoseconds since 1970. A program can set `modified`, but not this.
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

    /// Whether the file was left alone for so long that any later change gives it another stamp. Some file systems keep times
    /// in steps of a second or two, so two changes within one step have the same stamp.
    pub(super) fn is_final(&self) -> bool {
        let changed =
            u64::try_from(self.changed.0).map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        changed.is_ok_and(|changed| changed.elapsed().is_ok_and(|elapsed| elapsed > LEFT_ALONE))
    }
}

/// What a scan finds.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Files by plugin name, with their stamps.
    pub(super) plugins: BTreeMap<String, (PathBuf, Stamp)>,
    /// Files whose name another has already.
    pub(super) doubles: Vec<PathBuf>,
}

/// All plugin files of some sources. A name that stands twice is the first source's.
pub(super) fn scan(sources: &[Source]) -> Found {
    let mut found = Found::default();
    for path in sources.iter().flat_map(Source::files) {
        let (Some(name), Some(stamp)) = (name_of(&path), Stamp::of(&path)) else { continue };
        match found.plugins.entry(name.to_owned()) {
            Entry::Vacant(entry) => drop(entry.insert((path, stamp))),
            // The same file may be named twice, alone and with its directory.
            Entry::Occupied(entry) if entry.get().1 == stamp => {}
            Entry::Occupied(_) => found.doubles.push(path),
        }
    }
    found
}

/// The most bytes of a component.
const COMPONENT_BYTES_MAX: u64 = 128 << 20;

/// The time between the two looks at a file that must agree, and how many are taken.
const LOOK_APART: Duration = Duration::from_millis(20);
const LOOKS_MAX: usize = 100;

/// A file that was left alone for so long isn't being written: one look is enough, so that a host starts at once. It is
/// longer than the two seconds in which the coarsest of the usual file systems count time.
const LEFT_ALONE: Duration = Duration::from_secs(3);

/// How a file was at a look at it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) stamp: Stamp,
    pub(super) at: Instant,
}

impl Look {
    /// Looks at a file now.
    fn at(path: &Path) -> Result<Self> {
        let stamp = Stamp::of(path).ok_or_else(|| anyhow!("it is gone"))?;
        Ok(Self { stamp, at: Instant::now() })
    }

    /// Waits until another look may be taken. Many files that were looked at together wait for the same time.
    async fn settle(&self) {
        if !self.stamp.is_final() {
            sleep_until(self.at + LOOK_APART).await;
        }
    }
}

/// Reads a file once two looks at it agree: somebody may be writing it still. A look that was taken already is one of them.
pub(super) async fn read_settled(path: &Path, mut look: Option<Look>) -> Result<(Stamp, Vec<u8>)> {
    let reading = || format!("reading {}", path.display());
    for _ in 0..LOOKS_MAX {
        let before = match look.take() {
            Some(look) => look,
            None => Look::at(path).with_context(reading)?,
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
        for name in ["chat.wasm", "echo.wasm", "notes.txt", ".hidden.wasm", "half.wasm.partial"] {
            fs::write(home.path().join(name), "x")?;
        }
        fs::create_dir(home.path().join("folder.wasm"))?;
        let found = scan(&[Source::find(home.path())?]);
        assert_eq!(found.plugins.keys().collect::<Vec<_>>(), ["chat", "echo"]);
        let other = tempfile::tempdir()?;
        fs::write(other.path().join("chat.wasm"), "y")?;
        let both = scan(&[Source::find(home.path())?, Source::find(other.path())?]);
        assert_eq!(both.doubles, [other.path().join("chat.wasm")]);
        assert!(Source::find(&home.path().join("notes.txt")).is_err());
        assert!(Source::find(&home.path().join("absent")).is_err());
        Ok(())
    }
}
