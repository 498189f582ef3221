//! What is remembered of builds from one start of the host to the next: which were taken back, which are proved, and the
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

/// A build that was taken back. It is refused until an operator asks for its plugin by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rejection {
    /// The plugin's name.
    pub(super) plugin: String,
    /// When it was taken back, in milliseconds since 1970.
    pub(super) at_ms: u64,
    /// Faults that counted against it.
    pub(super) faults: u32,
    /// The digest of the build that serves instead.
    pub(super) instead: String,
}

/// The builds that were taken back, by their digests, what is remembered of each plugin, and a directory where that is kept,
/// unless it is kept nowhere.
#[derive(Debug, Default)]
pub struct Builds {
    directory: Option<PathBuf>,
    rejected: BTreeMap<String, Rejection>,
    history: History,
}

/// Reads a component that was kept.
pub(super) type LoadKept = Box<dyn FnOnce() -> Option<(Bytes, Digest)> + Send>;

/// In the directory, the list of those that were taken back.
const LIST: &str = "taken-back.json";

/// And what is remembered of each plugin.
const HISTORY: &str = "proved.json";

impl Builds {
    /// Opens the directory, and makes it if it isn't there.
    ///
    /// # Errors
    /// Where it can't be made or read. A file in it that can't be read is set aside, which is no error.
    pub fn open(directory: &Path) -> Result<Self> {
        let making = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        making.with_context(|| format!("making the directory {} for builds", directory.display()))?;
        files::remove_partial(directory).with_context(|| format!("reading the directory {}", directory.display()))?;
        let loss = "builds that were taken back earlier are not remembered";
        let rejected = files::read_json(&directory.join(LIST), loss)?.unwrap_or_default();
        let loss = "no build counts as proved until it has answered a call, and there is none to go back to";
        let history = files::read_json(&directory.join(HISTORY), loss)?.unwrap_or_default();
        Ok(Self { directory: Some(directory.to_owned()), rejected, history })
    }

    /// Why this build of a plugin is refused, if it was taken back.
    pub(super) fn rejection(&self, plugin: &str, digest: &Digest) -> Option<&Rejection> {
        self.rejected.get(&digest.to_string()).filter(|rejection| rejection.plugin == plugin)
    }

    /// Remembers that a build was taken back.
    pub(super) fn reject(&mut self, digest: &Digest, rejection: Rejection) {
        self.rejected.insert(digest.to_string(), rejection);
        self.write(LIST, &self.rejected);
    }

    /// Forgets that it was.
    pub(super) fn forget(&mut self, digest: &Digest) {
        if self.rejected.remove(&digest.to_string()).is_some() {
            self.write(LIST, &self.rejected);
        }
    }

    /// What is remembered of a plugin.
    pub(super) fn record(&self, plugin: &str) -> Record {
        self.history.get(plugin).cloned().unwrap_or_default()
    }

    /// All that is remembered.
    pub(super) fn history(&self) -> &History {
        &self.history
    }

    /// Remembers something else of a plugin. It is on the disk when this returns.
    pub(super) fn update(&mut self, plugin: &str, change: impl FnOnce(&mut Record)) {
        let before = self.record(plugin);
        let mut record = before.clone();
        change(&mut record);
        if record != before {
            self.history.insert(plugin.to_owned(), record);
            self.write(HISTORY, &self.history);
        }
    }

    /// Forgets a plugin that is gone for good.
    pub(super) fn forget_plugin(&mut self, plugin: &str) {
        if self.history.remove(plugin).is_some() {
            self.write(HISTORY, &self.history);
        }
    }

    /// Keeps a component that may have to serve again after a restart. It is what is to be done, where the disk may be waited
    /// for.
    pub(super) fn keep(&self, digest: &Digest, component: Bytes) -> impl FnOnce() + Send + use<> {
        let path = self.path(&digest.to_string());
        move || {
            let Some(path) = path else { return };
            // One that was damaged is written anew.
            if fs::read(&path).is_ok_and(|kept| kept == component) {
                return;
            }
            said(files::replace(&path, &component), &path);
        }
    }

    /// A component that was kept: the first of these that is there and undamaged. It is what is to be done, where the disk may
    /// be waited for.
    pub(super) fn kept(&self, digests: &[&String]) -> LoadKept {
        let files: Vec<_> = digests.iter().filter_map(|digest| Some(((*digest).clone(), self.path(digest)?))).collect();
        Box::new(move || files.iter().find_map(|(digest, path)| read_kept(digest, path)))
    }

    /// Keeps only the components that are wanted, those that are remembered of plugins, and those that serve in place of others.
    /// `present` are the plugins that there are.
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
                said(fs::remove_file(&path), &path);
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
        said(files::replace(&path, &text), &path);
    }
}

fn read_kept(digest: &str, path: &Path) -> Option<(Bytes, Digest)> {
    let bytes = fs::read(path).ok()?;
    let found = Digest::of(&bytes);
    (found.to_string() == digest).then(|| (bytes.into(), found))
}

/// What isn't remembered is a pity, and no reason to serve nothing.
fn said(done: std::io::Result<()>, path: &Path) {
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
    fn what_was_taken_back_is_known_at_the_next_start() -> Result<()> {
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
    fn a_kept_component_that_was_changed_is_none() -> Result<()> {
        let home = tempfile::tempdir()?;
        let builds = Builds::open(home.path())?;
        let digest = Digest::of(b"good");
        fs::write(home.path().join(digest.to_string()).with_extension("wasm"), b"changed")?;
        assert_eq!(kept(&builds, &digest.to_string()), None);
        Ok(())
    }

    #[test]
    fn a_kept_component_that_was_changed_is_kept_anew() -> Result<()> {
        let home = tempfile::tempdir()?;
        let builds = Builds::open(home.path())?;
        let digest = Digest::of(b"good");
        fs::write(home.path().join(digest.to_string()).with_extension("wasm"), b"")?;
        builds.keep(&digest, Bytes::from_static(b"good"))();
        assert_eq!(kept(&builds, &digest.to_string()), Some(Bytes::from_static(b"good")));
        Ok(())
    }

    #[test]
    fn a_proved_build_is_known_and_kept_at_the_next_start() -> Result<()> {
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
            // And it is written again.
            builds.reject(&bad, Rejection { plugin: "chat".into(), at_ms: 1, faults: 4, instead: String::new() });
            assert!(Builds::open(home.path())?.rejection("chat", &bad).is_some());
        }
        let aside = home.path().join("taken-back.json.unreadable-2");
        assert_eq!(fs::read_to_string(aside)?, "{");
        Ok(())
    }
}
