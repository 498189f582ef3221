//! Records the kind of each plugin, gatekeeper or not, across starts of the host.
//!
//! A mount whose configuration doesn't set any authentication uses the only gatekeeper there is. If the gatekeeper's
//! file is gone or damaged at a start, only this record tells the host that there was one. Without the record, the
//! mount would be open to everyone.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::Kind;
use crate::files;
use anyhow::{Context, Result};

/// The kind of each plugin, by the plugin's name, and the file that stores the kinds. The default has no file, so its
/// kinds are only in memory.
#[derive(Debug, Default)]
pub struct Kinds {
    file: Option<PathBuf>,
    known: BTreeMap<String, Kind>,
}

/// The name of the file in the directory.
const FILE: &str = "kinds.json";

impl Kinds {
    /// Reads the file in this directory. Creates the directory if it doesn't exist.
    ///
    /// # Errors
    /// Returns an error if the directory can't be created or the file can't be read. A host that doesn't know whether
    /// there was a gatekeeper must not start as if there was none.
    pub fn open(directory: &Path) -> Result<Self> {
        let making = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        making.with_context(|| format!("creating the directory {}", directory.display()))?;
        files::remove_partial(directory).with_context(|| format!("reading the directory {}", directory.display()))?;
        let file = directory.join(FILE);
        let known = match fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| {
                format!("reading {}; remove it if no plugin that served here was a gatekeeper", file.display())
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error).with_context(|| format!("reading {}", file.display())),
        };
        Ok(Self { file: Some(file), known })
    }

    /// Returns the kind that a plugin had when it last served.
    pub(super) fn of(&self, name: &str) -> Option<Kind> {
        self.known.get(name).copied()
    }

    /// Returns the names of the plugins that were gatekeepers when they last served.
    pub(super) fn gatekeepers(&self) -> impl Iterator<Item = &str> {
        self.known.iter().filter(|(_, kind)| **kind == Kind::Gatekeeper).map(|(name, _)| &**name)
    }

    /// Records the kinds of plugins that serve now.
    pub(super) fn remember<'a>(&mut self, kinds: impl Iterator<Item = (&'a str, Kind)>) {
        let changed = kinds.filter(|(name, kind)| self.known.insert((*name).to_owned(), *kind) != Some(*kind)).count();
        if changed > 0 {
            self.write();
        }
    }

    /// Removes the record of a plugin. Returns whether there was one.
    pub(super) fn forget(&mut self, name: &str) -> bool {
        let was_known = self.known.remove(name).is_some();
        if was_known {
            self.write();
        }
        was_known
    }

    /// Removes the records of plugins that aren't known any more. If the file names contain versions, each build is a new
    /// plugin, so without this the records would grow forever. A gatekeeper's record stays until an operator removes it,
    /// because without it the gatekeeper's mounts would be open to everyone.
    pub(super) fn prune(&mut self, is_known: impl Fn(&str) -> bool) {
        let before = self.known.len();
        self.known.retain(|name, kind| *kind == Kind::Gatekeeper || is_known(name));
        if self.known.len() < before {
            self.write();
        }
    }

    fn write(&self) {
        let Some(file) = &self.file else { return };
        let text = serde_json::to_vec_pretty(&self.known).unwrap_or_default();
        // The file is replaced atomically: half a file would keep the host from starting.
        if let Err(error) = files::replace(file, &text) {
            let file = file.display();
            tracing::error!(
                "{file} can't be written, so at its next start the host won't know which plugin is a gatekeeper: {error}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_plugin_is_known_at_the_next_start_until_it_is_forgotten() -> Result<()> {
        let home = tempfile::tempdir()?;
        let mut kinds = Kinds::open(&home.path().join("builds"))?;
        kinds.remember([("gate", Kind::Gatekeeper), ("chat", Kind::Plugin)].into_iter());
        let mut kinds = Kinds::open(&home.path().join("builds"))?;
        assert_eq!(kinds.gatekeepers().collect::<Vec<_>>(), ["gate"]);
        assert_eq!((kinds.of("chat"), kinds.of("echo")), (Some(Kind::Plugin), None));
        assert!(kinds.forget("gate") && !kinds.forget("gate"));
        assert_eq!(Kinds::open(&home.path().join("builds"))?.gatekeepers().count(), 0);
        Ok(())
    }

    #[test]
    fn records_of_unknown_plugins_are_removed_except_those_of_gatekeepers() -> Result<()> {
        let home = tempfile::tempdir()?;
        let mut kinds = Kinds::open(home.path())?;
        for (name, kind) in [("gate-1", Kind::Gatekeeper), ("chat-1", Kind::Plugin), ("chat-2", Kind::Plugin)] {
            kinds.remember([(name, kind)].into_iter());
        }
        kinds.prune(|name| name == "chat-2");
        let kinds = Kinds::open(home.path())?;
        assert_eq!((kinds.of("gate-1"), kinds.of("chat-1")), (Some(Kind::Gatekeeper), None));
        assert_eq!(kinds.of("chat-2"), Some(Kind::Plugin));
        Ok(())
    }

    #[test]
    fn a_file_that_cant_be_read_keeps_the_host_from_starting() -> Result<()> {
        let home = tempfile::tempdir()?;
        for text in ["", "{", "[]", "{\"gate\": \"dog\"}"] {
            fs::write(home.path().join(FILE), text)?;
            assert!(Kinds::open(home.path()).is_err_and(|error| format!("{error:#}").contains(FILE)), "{text}");
        }
        Ok(())
    }
}
