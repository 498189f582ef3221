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
    /// The files that changed during a build, or were saved.
    left: BTreeMap<PathBuf, Left>,
    /// The files that [`Concluded::given`] has named.
    given: BTreeSet<PathBuf>,
}

/// A file as a build, or the developer, has left it.
struct Left {
    content: Option<Digest>,
    /// In how many builds in a row it has changed.
    builds: u32,
}

/// What is known after a build of the files that changed during it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Concluded {
    /// Whether another build has to follow, because a file has changed that the command may not have written. The next build shows it: a
    /// command writes the same again.
    pub(super) is_outdated: bool,
    /// The files that count as the command's only because they change in each build. They may be saves, so the developer has to know.
    /// Each is named once.
    pub(super) given: Vec<PathBuf>,
}

impl Writes {
    /// A file has changed while the command runs.
    pub(super) fn note(&mut self, file: &Path) {
        self.changed.insert(file.to_owned());
    }

    /// A file has changed, and the command doesn't run. Returns whether it is a save. The last changes of a build are reported after
    /// its end.
    pub(super) fn is_save(&mut self, file: &Path) -> bool {
        let content = content_of(file);
        let is_save = self.left.get(file).is_none_or(|left| left.content != content);
        if is_save {
            // If it is the command's after all, the next build writes the same again.
            self.left.insert(file.to_owned(), Left { content, builds: 0 });
        }
        is_save
    }

    /// A build has ended.
    pub(super) fn conclude(&mut self) -> Concluded {
        let mut before = std::mem::take(&mut self.left);
        let mut concluded = Concluded::default();
        for file in std::mem::take(&mut self.changed) {
            let (former, content) = (before.remove(&file), content_of(&file));
            let builds = former.as_ref().map_or(1, |former| former.builds.saturating_add(1));
            let is_same = former.is_some_and(|former| former.content == content);
            if !is_same && builds < BUILDS {
                concluded.is_outdated = true;
            } else if !is_same && self.given.insert(file.clone()) {
                concluded.given.push(file.clone());
            }
            self.left.insert(file, Left { content, builds });
        }
        // They may have changed all the same, and be reported later.
        self.left.extend(before.into_iter().map(|(file, left)| (file, Left { builds: 0, ..left })));
        concluded
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

    const OUTDATED: Concluded = Concluded { is_outdated: true, given: Vec::new() };
    const CURRENT: Concluded = Concluded { is_outdated: false, given: Vec::new() };

    /// A build during which these files get these contents.
    fn build(writes: &mut Writes, folder: &Path, files: &[(&str, &str)]) -> std::io::Result<Concluded> {
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
        assert_eq!(build(&mut writes, home.path(), &[])?, CURRENT);
        // At first, nobody knows who has written it.
        assert_eq!(build(&mut writes, home.path(), &[("made", "1")])?, OUTDATED);
        assert_eq!(build(&mut writes, home.path(), &[("made", "1")])?, CURRENT);
        // After a save of another file, it has another content.
        assert!(!build(&mut writes, home.path(), &[("made", "2")])?.is_outdated);
        // This change is reported after the end of the build.
        assert!(!writes.is_save(&home.path().join("made")));
        Ok(())
    }

    #[test]
    fn a_command_that_always_writes_something_else_does_not_run_for_ever() -> std::io::Result<()> {
        let home = tempfile::tempdir()?;
        let mut writes = Writes::default();
        let runs = (0..10).map(|at| build(&mut writes, home.path(), &[("stamp", at.to_string().as_str())]));
        let runs = runs.collect::<std::io::Result<Vec<Concluded>>>()?;
        let third = Concluded { is_outdated: false, given: vec![home.path().join("stamp")] };
        assert_eq!(runs[..3], [OUTDATED, OUTDATED, third]);
        assert!(runs[3..].iter().all(|concluded| *concluded == CURRENT), "{runs:?}");
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
        assert!(build(&mut writes, home.path(), &[("made", "2"), ("source", "1")])?.is_outdated);
        assert!(build(&mut writes, home.path(), &[("made", "3"), ("source", "2")])?.is_outdated);
        assert_eq!(build(&mut writes, home.path(), &[("made", "3")])?, CURRENT);
        assert!(!writes.is_save(&source), "the last build had this content");
        fs::write(&source, "3")?;
        assert!(writes.is_save(&source) && writes.is_save(&home.path().join("new")));
        // A file that the command has written is saved by the developer.
        fs::write(home.path().join("made"), "by hand")?;
        assert!(writes.is_save(&home.path().join("made")));
        // A removed file, too.
        fs::remove_file(&source)?;
        writes.note(&source);
        assert_eq!(writes.conclude(), OUTDATED);
        assert!(!writes.is_save(&source), "it is still removed");
        Ok(())
    }

    /// The third one looks like the write of a command that always writes something else.
    #[test]
    fn of_three_saves_during_three_builds_the_last_one_is_named() -> std::io::Result<()> {
        let home = tempfile::tempdir()?;
        let source = home.path().join("source");
        let mut writes = Writes::default();
        assert_eq!(build(&mut writes, home.path(), &[("source", "1")])?, OUTDATED);
        assert_eq!(build(&mut writes, home.path(), &[("source", "2")])?, OUTDATED);
        let third = build(&mut writes, home.path(), &[("source", "3")])?;
        assert_eq!(third, Concluded { is_outdated: false, given: vec![source.clone()] });
        // What the developer is told to do.
        fs::write(&source, "4")?;
        assert!(writes.is_save(&source));
        assert_eq!(build(&mut writes, home.path(), &[])?, CURRENT);
        assert_eq!(build(&mut writes, home.path(), &[("source", "5")])?, OUTDATED, "it isn't the command's for ever");
        Ok(())
    }

    #[test]
    fn a_write_of_the_command_that_is_always_reported_late_starts_one_build() -> std::io::Result<()> {
        let home = tempfile::tempdir()?;
        let made = home.path().join("made");
        let mut writes = Writes::default();
        fs::write(&made, "1")?;
        assert_eq!(writes.conclude(), CURRENT);
        assert!(writes.is_save(&made), "nobody knows who has written it");
        for _ in 0..3 {
            fs::write(&made, "1")?;
            assert_eq!(writes.conclude(), CURRENT);
            assert!(!writes.is_save(&made));
        }
        // This time it is reported before the end.
        assert_eq!(build(&mut writes, home.path(), &[("made", "1")])?, CURRENT);
        Ok(())
    }
}
