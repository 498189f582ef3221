//! The files that change among the sources of a plugin while its command runs. The command may have written them, or the developer.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use bennu::plugin::Digest;

/// A file that changes in so many builds in a row is the command's, also if its content differs each time.
const BUILDS: u32 = 3;

/// The changes of a plugin's sources that a build of it may have made itself.
#[derive(Default)]
pub(super) struct Writes {
    /// The files that have changed since the running build began.
    changed: BTreeSet<PathBuf>,
    /// The files that changed during the last build.
    left: BTreeMap<PathBuf, Left>,
}

/// A file as a build has left it.
struct Left {
    content: Option<Digest>,
    /// In how many builds in a row it has changed.
    builds: u32,
}

impl Writes {
    /// A file has changed while the command runs.
    pub(super) fn note(&mut self, file: &Path) {
        self.changed.insert(file.to_owned());
    }

    /// A file has changed, and the command doesn't run. Returns whether it is a save. The last changes of a build are reported after
    /// its end.
    pub(super) fn is_save(&mut self, file: &Path) -> bool {
        let is_save = self.left.get(file).is_none_or(|left| left.content != content_of(file));
        if is_save {
            self.left.remove(file);
        }
        is_save
    }

    /// A build has ended. Returns whether another one has to follow, because a file has changed that the command may not have
    /// written. The next build shows it: a command writes the same again.
    pub(super) fn conclude(&mut self) -> bool {
        let before = std::mem::take(&mut self.left);
        let mut is_outdated = false;
        for file in std::mem::take(&mut self.changed) {
            let (former, content) = (before.get(&file), content_of(&file));
            let builds = former.map_or(1, |former| former.builds.saturating_add(1));
            let is_same = former.is_some_and(|former| former.content == content);
            is_outdated |= !is_same && builds < BUILDS;
            self.left.insert(file, Left { content, builds });
        }
        is_outdated
    }
}

/// The content of a file. A pipe isn't read: that could wait for ever.
fn content_of(file: &Path) -> Option<Digest> {
    let is_file = fs::metadata(file).is_ok_and(|found| found.is_file());
    let content = is_file.then(|| fs::read(file).ok()).flatten()?;
    Some(Digest::of(&content))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A build during which these files get these contents. Returns whether another one has to follow.
    fn build(writes: &mut Writes, folder: &Path, files: &[(&str, &str)]) -> std::io::Result<bool> {
        for (name, content) in files {
            let file = folder.join(name);
            fs::write(&file, content)?;
            writes.note(&file);
        }
        Ok(writes.conclude())
    }

    #[test]
    fn what_the_command_writes_again_is_its_own() -> std::io::Result<()> {
        let home = tempfile::tempdir()?;
        let mut writes = Writes::default();
        assert!(!build(&mut writes, home.path(), &[])?);
        // At first, nobody knows who has written it.
        assert!(build(&mut writes, home.path(), &[("made", "1")])?);
        assert!(!build(&mut writes, home.path(), &[("made", "1")])?);
        // After a save of another file, it has another content.
        assert!(!build(&mut writes, home.path(), &[("made", "2")])?);
        // This change is reported after the end of the build.
        assert!(!writes.is_save(&home.path().join("made")));
        Ok(())
    }

    #[test]
    fn a_command_that_always_writes_something_else_does_not_run_for_ever() -> std::io::Result<()> {
        let home = tempfile::tempdir()?;
        let mut writes = Writes::default();
        let runs = (0..10).map(|at| build(&mut writes, home.path(), &[("stamp", at.to_string().as_str())]));
        let runs = runs.collect::<std::io::Result<Vec<bool>>>()?;
        assert_eq!(runs[..3], [true, true, false]);
        assert!(runs[3..].iter().all(|is_outdated| !is_outdated), "{runs:?}");
        Ok(())
    }

    #[test]
    fn a_save_during_a_build_is_built() -> std::io::Result<()> {
        let home = tempfile::tempdir()?;
        let source = home.path().join("source");
        let mut writes = Writes::default();
        build(&mut writes, home.path(), &[("made", "1")])?;
        build(&mut writes, home.path(), &[("made", "1")])?;
        // Twice, one after another.
        assert!(build(&mut writes, home.path(), &[("made", "2"), ("source", "1")])?);
        assert!(build(&mut writes, home.path(), &[("made", "3"), ("source", "2")])?);
        assert!(!build(&mut writes, home.path(), &[("made", "3")])?);
        assert!(writes.is_save(&source) && writes.is_save(&home.path().join("new")));
        // A file that the command has written is saved by the developer.
        fs::write(home.path().join("made"), "by hand")?;
        assert!(writes.is_save(&home.path().join("made")));
        // A removed file, too.
        fs::remove_file(&source)?;
        writes.note(&source);
        assert!(writes.conclude());
        assert!(!writes.is_save(&source), "it is still removed");
        Ok(())
    }
}
