//! Records builds across starts of the host: which builds were rolled back automatically, which have passed, and the
//! components that may have to serve again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Digest;
use super::history::{History, Record, forget_absent};
use crate::files;

/// A build that was rolled back automatically. The host refuses it until an operator reloads the plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rejection {
    /// The plugin's name.
    pub(super) plugin: String,
    /// The time of the rollback, in milliseconds since 1970.
    pub(super) at_ms: u64,
    /// The number of counted faults.
    pub(super) faults: u32,
    /// The digest of the build that serves instead.
    pub(super) instead: String,
}

/// The rejected builds by digest, the record of each plugin, and the directory that stores both. If there is no
/// directory, they are kept only in memory.
#[derive(Debug, Default)]
pub struct Builds {
    directory: Option<PathBuf>,
    rejected: BTreeMap<String, Rejection>,
    history: History,
    /// While changes of records are held back: whether there are any.
    held: Option<bool>,
}

/// A function that reads a kept component from the disk.
pub(super) type LoadKept = Box<dyn FnOnce() -> Option<(Bytes, Digest)> + Send>;

/// The name of the file with the rejected builds.
const LIST: &str = "taken-back.json";

/// The name of the file with the record of each plugin.
const HISTORY: &str = "proved.json";

impl Builds {
    /// Opens the directory. Creates it if it doesn't exist.
    ///
    /// # Errors
    /// Returns an error if the directory can't be created or read. A file in it that can't be parsed is set aside;
    /// that isn't an error.
    pub fn open(directory: &Path) -> Result<Self> {
        let making = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        making.with_context(|| format!("creating the directory {} for builds", directory.display()))?;
        files::remove_partial(directory).with_context(|| format!("reading the directory {}", directory.display()))?;
        let loss = "the host no longer knows which builds were rolled back automatically";
        let rejected = files::read_json(&directory.join(LIST), loss)?.unwrap_or_default();
        let loss =
            "no build counts as proved until it has answered a call, and no rollback to an earlier build is possible";
        let history = files::read_json(&directory.join(HISTORY), loss)?.unwrap_or_default();
        Ok(Self { directory: Some(directory.to_owned()), rejected, history, held: None })
    }

    /// Returns the rejection of this build of a plugin, if it was rolled back automatically.
    pub(super) fn rejection(&self, plugin: &str, digest: &Digest) -> Option<&Rejection> {
        self.rejected.get(&digest.to_string()).filter(|rejection| rejection.plugin == plugin)
    }

    /// Records that a build was rolled back automatically.
    pub(super) fn reject(&mut self, digest: &Digest, rejection: Rejection) {
        self.rejected.insert(digest.to_string(), rejection);
        self.write(LIST, &self.rejected);
    }

    /// Removes a build's rejection.
    pub(super) fn forget(&mut self, digest: &Digest) {
        if self.rejected.remove(&digest.to_string()).is_some() {
            self.write(LIST, &self.rejected);
        }
    }

    /// Returns the record of a plugin.
    pub(super) fn record(&self, plugin: &str) -> Record {
        self.history.get(plugin).cloned().unwrap_or_default()
    }

    /// Returns the records of all plugins.
    pub(super) fn history(&self) -> &History {
        &self.history
    }

    /// Changes the record of a plugin. The change is on the disk when this returns, unless writing has failed, which the
    /// log then says, or changes are [held](Self::hold) back.
    pub(super) fn update(&mut self, plugin: &str, change: impl FnOnce(&mut Record)) {
        let before = self.record(plugin);
        let mut record = before.clone();
        change(&mut record);
        if record != before {
            self.history.insert(plugin.to_owned(), record);
            match &mut self.held {
                Some(is_changed) => *is_changed = true,
                None => self.write(HISTORY, &self.history),
            }
        }
    }

    /// Holds changes of records back until [`release`](Self::release), which writes them together.
    pub(super) fn hold(&mut self) {
        self.held.get_or_insert(false);
    }

    /// Writes the changes since [`hold`](Self::hold).
    pub(super) fn release(&mut self) {
        if self.held.take() == Some(true) {
            self.write(HISTORY, &self.history);
        }
    }

    /// Removes the record of a plugin that is gone for good.
    pub(super) fn forget_plugin(&mut self, plugin: &str) {
        if self.history.remove(plugin).is_some() {
            self.write(HISTORY, &self.history);
        }
    }

    /// Returns a function that stores a component that may have to serve again after a restart. The function blocks
    /// on the disk, so it must run in a thread that may block.
    pub(super) fn keep(&self, digest: &Digest, component: Bytes) -> impl FnOnce() + Send + use<> {
        let path = self.path(&digest.to_string());
        move || {
            let Some(path) = path else { return };
            // A damaged file is written again.
            if fs::read(&path).is_ok_and(|kept| kept == component) {
                return;
            }
            log_failure(files::replace(&path, &component), &path);
        }
    }

    /// Returns a function that reads the first of these components that is stored and undamaged. The function blocks
    /// on the disk, so it must run in a thread that may block.
    pub(super) fn kept(&self, digests: &[&String]) -> LoadKept {
        let files: Vec<_> = digests.iter().filter_map(|digest| Some(((*digest).clone(), self.path(digest)?))).collect();
        Box::new(move || files.iter().find_map(|(digest, path)| read_kept(digest, path)))
    }

    /// Removes all stored components except three kinds: those in `wanted`, those in the records of plugins, and
    /// those that serve instead of rejected builds. `present` are the names of the plugins that the library knows.
    pub(super) fn prune(&mut self, wanted: &BTreeSet<String>, present: &BTreeSet<&str>) {
        if forget_absent(&mut self.history, present) {
            self.write(HISTORY, &self.history);
        }
        let Some(directory) = &self.directory else { return };
        let instead = self.rejected.values().map(|rejection| &*rejection.instead);
        let remembered: BTreeSet<&str> = instead.chain(self.history.values().flat_map(Record::builds)).collect();
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_component = path.extension().is_some_and(|extension| extension == "wasm");
            let digest = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            if is_component && !wanted.contains(digest) && !remembered.contains(digest) {
                log_failure(fs::remove_file(&path), &path);
            }
        }
    }

    fn path(&self, digest: &str) -> Option<PathBuf> {
        Some(self.directory.as_ref()?.join(digest).with_extension("wasm"))
    }

    fn write(&self, name: &str, content: &impl Serialize) {
        let Some(directory) = &self.directory else { return };
        let path = directory.join(name);
        let text = serde_json::to_vec_pretty(content).unwrap_or_default();
        log_failure(files::replace(&path, &text), &path);
    }
}

fn read_kept(digest: &str, path: &Path) -> Option<(Bytes, Digest)> {
    let bytes = fs::read(path).ok()?;
    let found = Digest::of(&bytes);
    (found.to_string() == digest).then(|| (bytes.into(), found))
}

/// Logs a failed write. It doesn't keep the host from serving.
fn log_failure(done: std::io::Result<()>, path: &Path) {
    if let Err(error) = done {
        tracing::warn!("{} can't be written: {error}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(builds: &Builds, digest: &str) -> Option<Bytes> {
        builds.kept(&[&digest.to_owned()])().map(|(bytes, _)| bytes)
    }

    #[test]
    fn a_rejected_build_is_known_at_the_next_start() -> Result<()> {
        let home = tempfile::tempdir()?;
        let directory = home.path().join("builds");
        let (bad, good) = (Digest::of(b"bad"), Digest::of(b"good"));
        let mut builds = Builds::open(&directory)?;
        builds.keep(&good, Bytes::from_static(b"good"))();
        builds.keep(&Digest::of(b"other"), Bytes::from_static(b"other"))();
        let instead = good.to_string();
        builds.reject(&bad, Rejection { plugin: "chat".into(), at_ms: 1, faults: 4, instead: instead.clone() });
        builds.prune(&BTreeSet::new(), &BTreeSet::new());

        let mut builds = Builds::open(&directory)?;
        assert_eq!(builds.rejection("chat", &bad).map(|rejection| rejection.faults), Some(4));
        assert_eq!(builds.rejection("echo", &bad), None);
        assert_eq!(kept(&builds, &instead), Some(Bytes::from_static(b"good")));
        assert_eq!(kept(&builds, &Digest::of(b"other").to_string()), None);
        builds.forget(&bad);
        assert_eq!(Builds::open(&directory)?.rejection("chat", &bad), None);
        Ok(())
    }

    #[test]
    fn a_kept_component_that_was_changed_is_not_read() -> Result<()> {
        let home = tempfile::tempdir()?;
        let builds = Builds::open(home.path())?;
        let digest = Digest::of(b"good");
        fs::write(home.path().join(digest.to_string()).with_extension("wasm"), b"changed")?;
        assert_eq!(kept(&builds, &digest.to_string()), None);
        Ok(())
    }

    #[test]
    fn a_kept_component_that_was_changed_is_written_again() -> Result<()> {
        let home = tempfile::tempdir()?;
        let builds = Builds::open(home.path())?;
        let digest = Digest::of(b"good");
        fs::write(home.path().join(digest.to_string()).with_extension("wasm"), b"")?;
        builds.keep(&digest, Bytes::from_static(b"good"))();
        assert_eq!(kept(&builds, &digest.to_string()), Some(Bytes::from_static(b"good")));
        Ok(())
    }

    #[test]
    fn a_build_that_has_passed_is_known_and_kept_at_the_next_start() -> Result<()> {
        let home = tempfile::tempdir()?;
        let good = Digest::of(b"good");
        let mut builds = Builds::open(home.path())?;
        builds.keep(&good, Bytes::from_static(b"good"))();
        builds.update("chat", |record| record.note_proved(&good.to_string()));
        builds.prune(&BTreeSet::new(), &BTreeSet::new());
        let builds = Builds::open(home.path())?;
        assert_eq!(builds.record("chat").proved, Some(good.to_string()));
        assert_eq!(kept(&builds, &good.to_string()), Some(Bytes::from_static(b"good")));
        assert_eq!(builds.record("other"), Record::default());
        let mut builds = Builds::open(home.path())?;
        builds.forget_plugin("chat");
        assert_eq!(Builds::open(home.path())?.record("chat"), Record::default());
        fs::write(home.path().join(HISTORY), "{\"chat\": 1}")?;
        assert_eq!(Builds::open(home.path())?.record("chat"), Record::default());
        assert!(home.path().join("proved.json.unreadable").exists());
        Ok(())
    }

    #[test]
    fn a_list_that_cant_be_read_is_set_aside() -> Result<()> {
        let home = tempfile::tempdir()?;
        let bad = Digest::of(b"bad");
        for content in ["", "{", "[1]"] {
            fs::write(home.path().join(LIST), content)?;
            let mut builds = Builds::open(home.path())?;
            assert_eq!(builds.rejection("chat", &bad), None);
            // The list can be written again.
            builds.reject(&bad, Rejection { plugin: "chat".into(), at_ms: 1, faults: 4, instead: String::new() });
            assert!(Builds::open(home.path())?.rejection("chat", &bad).is_some());
        }
        let aside = home.path().join("taken-back.json.unreadable-2");
        assert_eq!(fs::read_to_string(aside)?, "{");
        Ok(())
    }
}
