//! The files that change among the sources of a plugin while its command runs. The command may have written them, or the developer.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bennu::plugin::Digest;

/// A file that changes in so many builds in a row is the command's, also if its content differs each time.
const BUILDS: u32 = 3;

/// What is at a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Missing,
    Directory,
    File(Digest),
    /// A file that can't be read, or something else, such as a pipe.
    Other,
}

/// What was found at a path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    kind: Kind,
    /// When it, or its metadata, was last changed, if that is known.
    changed: Option<SystemTime>,
}

impl Found {
    /// Looks at a path. A pipe isn't read: that could wait for ever.
    pub(super) fn of(path: &Path) -> Self {
        // The time comes first. If the file is written before it is read, it has another time at the next look, and counts as changed.
        let Ok(metadata) = fs::metadata(path) else { return Self { kind: Kind::Missing, changed: None } };
        let kind = if metadata.is_dir() {
            Kind::Directory
        } else if metadata.is_file() {
            fs::read(path).map_or(Kind::Other, |content| Kind::File(Digest::of(&content)))
        } else {
            Kind::Other
        };
        Self { kind, changed: changed(&metadata) }
    }

    /// Whether nothing has happened to it between two looks. Of what is missing nobody knows that: it may have come and gone.
    fn is_untouched(self, now: Self) -> bool {
        self.changed.is_some() && self == now
    }
}

/// The time of the last change of a file or its metadata (ctime). A program can set the time of modification, but not this. A time
/// that hasn't come yet is by the clock of another machine, such as a file server, and says nothing.
fn changed(metadata: &fs::Metadata) -> Option<SystemTime> {
    let (seconds, nanoseconds) = (u64::try_from(metadata.ctime()).ok()?, u32::try_from(metadata.ctime_nsec()).ok()?);
    let changed = SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds))?;
    (changed <= SystemTime::now()).then_some(changed)
}

/// The changes of a plugin's sources that a build of it may have made itself.
#[derive(Default)]
pub(super) struct Writes {
    /// The files that have changed since the running build began.
    changed: BTreeSet<PathBuf>,
    /// The files that changed during a build, or were saved.
    left: BTreeMap<PathBuf, Left>,
    /// The files that [`RebuildDecision::given`] has named.
    given: BTreeSet<PathBuf>,
    /// How many builds have ended.
    builds: u64,
    /// When the last one ended.
    ended: Option<SystemTime>,
}

/// A file as a build, or the developer, has left it.
struct Left {
    found: Found,
    /// In how many builds in a row it has changed; 0 if it was saved after them.
    builds: u32,
    /// How many builds had ended when it was last found changed.
    seen: u64,
}

/// What changes of files mean.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RebuildDecision {
    /// Whether a build has to follow, because a file was saved, or has changed during a build and the command may not have written it.
    /// The next build shows it: a command writes the same again.
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

    /// A file has changed, and the command doesn't run. `idle_since` is the end of the last build of any command, or nothing if that
    /// of another plugin runs: it may have written the file, too.
    pub(super) fn decide(&mut self, file: &Path, found: Found, idle_since: Option<SystemTime>) -> RebuildDecision {
        let mut decision = RebuildDecision::default();
        let former = self.left.get(file);
        if former.is_some_and(|former| former.found.is_untouched(found)) {
            return decision;
        }
        // The last changes of a build are reported after its end. A file that was looked at since then has changed later, whatever its
        // time says: the system's clock for files may be some milliseconds late.
        let is_late = found.changed.zip(self.ended).is_some_and(|(changed, ended)| changed <= ended)
            && former.is_none_or(|former| former.seen < self.builds);
        if is_late {
            self.decide_write(file, found, &mut decision);
            return decision;
        }
        // Nothing but a developer has changed it then, so it is a save also with the same content: that is how to try again.
        let is_by_hand = found.changed.zip(idle_since).is_some_and(|(changed, since)| changed > since);
        decision.is_outdated = is_by_hand || former.is_none_or(|former| former.found.kind != found.kind);
        let left = match former {
            Some(former) if !decision.is_outdated => Left { found, ..*former },
            // If it is the command's after all, the next builds write the same again.
            _ => Left { found, builds: 0, seen: self.builds },
        };
        self.left.insert(file.to_owned(), left);
        decision
    }

    /// A build has ended. `look` finds what is at a path now.
    pub(super) fn conclude(&mut self, ended: SystemTime, look: impl Fn(&Path) -> Found) -> RebuildDecision {
        self.builds += 1;
        self.ended = Some(ended);
        let mut decision = RebuildDecision::default();
        for file in std::mem::take(&mut self.changed) {
            self.decide_write(&file, look(&file), &mut decision);
        }
        decision
    }

    /// A file has changed during the last build, or has been reported meanwhile.
    fn decide_write(&mut self, file: &Path, found: Found, decision: &mut RebuildDecision) {
        let former = self.left.get(file);
        if former.is_some_and(|former| former.found.is_untouched(found)) {
            // It was reported again, and the build has read it as it is.
            return;
        }
        // Only what the build before has written shows what the command writes. If the developer has left the same content, the build
        // may have read another one between.
        let before = former.filter(|former| former.builds > 0 && former.seen + 1 == self.builds);
        let builds = before.map_or(1, |before| before.builds.saturating_add(1));
        let is_same = before.is_some_and(|before| before.found.kind == found.kind);
        if !is_same && builds < BUILDS {
            decision.is_outdated = true;
        } else if !is_same && self.given.insert(file.to_owned()) {
            decision.given.push(file.to_owned());
        }
        self.left.insert(file.to_owned(), Left { found, builds, seen: self.builds });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTDATED: RebuildDecision = RebuildDecision { is_outdated: true, given: Vec::new() };
    const CURRENT: RebuildDecision = RebuildDecision { is_outdated: false, given: Vec::new() };

    fn given(file: &str) -> RebuildDecision {
        RebuildDecision { is_outdated: false, given: vec![file.into()] }
    }

    fn content(text: &str) -> Kind {
        Kind::File(Digest::of(text.as_bytes()))
    }

    /// The sources of a plugin, and a clock that each event moves on.
    #[derive(Default)]
    struct Sources {
        writes: Writes,
        files: BTreeMap<PathBuf, Found>,
        seconds: u64,
        /// The end of the last build.
        ended: Option<SystemTime>,
    }

    impl Sources {
        fn tick(&mut self) -> SystemTime {
            self.seconds += 1;
            SystemTime::UNIX_EPOCH + Duration::from_secs(self.seconds)
        }

        /// Changes what is at a path.
        fn put(&mut self, file: &str, kind: Kind) {
            let changed = Some(self.tick()).filter(|_| kind != Kind::Missing);
            self.files.insert(file.into(), Found { kind, changed });
        }

        /// Someone writes a file: the developer, or a command.
        fn write(&mut self, file: &str, text: &str) {
            self.put(file, content(text));
        }

        fn found(&self, file: &str) -> Found {
            self.files.get(Path::new(file)).copied().unwrap_or(Found { kind: Kind::Missing, changed: None })
        }

        /// A change is reported while no command runs.
        fn report(&mut self, file: &str) -> RebuildDecision {
            let since = self.ended.unwrap_or(SystemTime::UNIX_EPOCH);
            self.writes.decide(Path::new(file), self.found(file), Some(since))
        }

        /// A change is reported while the command of another plugin runs.
        fn report_during_another(&mut self, file: &str) -> RebuildDecision {
            self.writes.decide(Path::new(file), self.found(file), None)
        }

        /// A build ends.
        fn end(&mut self) -> RebuildDecision {
            let ended = self.tick();
            self.ended = Some(ended);
            let Self { writes, files, .. } = self;
            writes.conclude(ended, |file| {
                files.get(file).copied().unwrap_or(Found { kind: Kind::Missing, changed: None })
            })
        }

        /// A build during which these files get these contents.
        fn build(&mut self, files: &[(&str, &str)]) -> RebuildDecision {
            for (file, text) in files {
                self.write(file, text);
                self.writes.note(Path::new(file));
            }
            self.end()
        }
    }

    #[test]
    fn what_the_command_writes_again_is_its_own() {
        let mut sources = Sources::default();
        assert_eq!(sources.build(&[]), CURRENT);
        // At first, nobody knows who has written it.
        assert_eq!(sources.build(&[("made", "1")]), OUTDATED);
        assert_eq!(sources.build(&[("made", "1")]), CURRENT);
        // After a save of another file, it has another content.
        assert!(!sources.build(&[("made", "2")]).is_outdated);
        // This change is reported after the end of the build.
        assert_eq!(sources.report("made"), CURRENT);
    }

    #[test]
    fn a_command_that_always_writes_something_else_does_not_run_for_ever() {
        let mut sources = Sources::default();
        let runs: Vec<RebuildDecision> =
            (0..10).map(|at| sources.build(&[("stamp", at.to_string().as_str())])).collect();
        assert_eq!(runs[..3], [OUTDATED, OUTDATED, given("stamp")]);
        assert!(runs[3..].iter().all(|decision| *decision == CURRENT), "{runs:?}");
    }

    /// It makes no difference whether its writes are reported before or after the ends of its builds.
    #[test]
    fn a_command_whose_other_writes_are_reported_late_does_not_run_for_ever() {
        let mut sources = Sources::default();
        let runs = (0..10).map(|at| {
            sources.write("stamp", &at.to_string());
            assert_eq!(sources.end(), CURRENT);
            sources.report("stamp")
        });
        let runs: Vec<RebuildDecision> = runs.collect();
        assert_eq!(runs[..3], [OUTDATED, OUTDATED, given("stamp")]);
        assert!(runs[3..].iter().all(|decision| *decision == CURRENT), "{runs:?}");
    }

    #[test]
    fn a_save_during_a_build_is_built() {
        let mut sources = Sources::default();
        sources.build(&[("made", "1")]);
        sources.build(&[("made", "1")]);
        // Twice, one after another.
        assert!(sources.build(&[("made", "2"), ("source", "1")]).is_outdated);
        assert!(sources.build(&[("made", "3"), ("source", "2")]).is_outdated);
        assert_eq!(sources.build(&[("made", "3")]), CURRENT);
        assert_eq!(sources.report("source"), CURRENT, "the last build had this content");
        sources.write("source", "3");
        assert_eq!(sources.report("source"), OUTDATED);
        assert_eq!(sources.report("new"), OUTDATED);
        // A file that the command has written is saved by the developer.
        sources.write("made", "by hand");
        assert_eq!(sources.report("made"), OUTDATED);
        // A removed file, too.
        sources.put("source", Kind::Missing);
        sources.writes.note(Path::new("source"));
        assert_eq!(sources.end(), OUTDATED);
        assert_eq!(sources.report("source"), CURRENT, "it is still removed");
    }

    /// The third one looks like the write of a command that always writes something else.
    #[test]
    fn of_three_saves_during_three_builds_the_last_one_is_named() {
        let mut sources = Sources::default();
        assert_eq!(sources.build(&[("source", "1")]), OUTDATED);
        assert_eq!(sources.build(&[("source", "2")]), OUTDATED);
        assert_eq!(sources.build(&[("source", "3")]), given("source"));
        // What the developer is told to do.
        sources.write("source", "4");
        assert_eq!(sources.report("source"), OUTDATED);
        assert_eq!(sources.build(&[]), CURRENT);
        assert_eq!(sources.build(&[("source", "5")]), OUTDATED, "it isn't the command's for ever");
    }

    #[test]
    fn a_write_of_the_command_that_is_always_reported_late_starts_one_build() {
        let mut sources = Sources::default();
        sources.write("made", "1");
        assert_eq!(sources.end(), CURRENT);
        assert_eq!(sources.report("made"), OUTDATED, "nobody knows who has written it");
        for _ in 0..3 {
            sources.write("made", "1");
            assert_eq!(sources.end(), CURRENT);
            assert_eq!(sources.report("made"), CURRENT);
            assert_eq!(sources.report("made"), CURRENT, "it is reported twice");
        }
        // This time it is reported before the end, and then after it.
        assert_eq!(sources.build(&[("made", "1")]), CURRENT);
        sources.write("made", "1");
        assert_eq!(sources.end(), CURRENT);
        assert_eq!(sources.report("made"), CURRENT);
    }

    #[test]
    fn a_folder_that_goes_and_comes_back_is_a_save() {
        let mut sources = Sources::default();
        sources.put("generated", Kind::Directory);
        assert_eq!(sources.report("generated"), OUTDATED);
        for kind in [Kind::Missing, Kind::Directory, Kind::Missing] {
            assert_eq!(sources.end(), CURRENT);
            sources.put("generated", kind);
            assert_eq!(sources.report("generated"), OUTDATED);
        }
        // During a build, too.
        sources.put("generated", Kind::Directory);
        sources.writes.note(Path::new("generated"));
        assert_eq!(sources.end(), OUTDATED);
        assert_eq!(sources.report("generated"), CURRENT, "it is still there");
    }

    #[test]
    fn a_save_of_the_same_content_after_a_build_is_built() {
        let mut sources = Sources::default();
        sources.write("source", "1");
        assert_eq!(sources.report("source"), OUTDATED);
        // This build fails, and nothing has changed since the save.
        assert_eq!(sources.end(), CURRENT);
        assert_eq!(sources.report("source"), CURRENT);
        for _ in 0..4 {
            sources.write("source", "1");
            assert_eq!(sources.report("source"), OUTDATED);
            assert_eq!(sources.end(), CURRENT);
        }
        // A file that the command has written is no exception.
        sources.build(&[("made", "1")]);
        assert_eq!(sources.build(&[("made", "1")]), CURRENT);
        sources.write("made", "1");
        assert_eq!(sources.report("made"), OUTDATED);
    }

    #[test]
    fn an_undo_during_a_build_is_built() {
        let mut sources = Sources::default();
        sources.write("source", "A");
        assert_eq!(sources.report("source"), OUTDATED);
        assert_eq!(sources.end(), CURRENT);
        // The build may have read B.
        assert_eq!(sources.build(&[("source", "B"), ("source", "A")]), OUTDATED);
        assert_eq!(sources.build(&[]), CURRENT);
        // The same with a file that comes and goes.
        sources.put("source", Kind::Missing);
        assert_eq!(sources.report("source"), OUTDATED);
        assert_eq!(sources.end(), CURRENT);
        sources.write("source", "B");
        sources.put("source", Kind::Missing);
        sources.writes.note(Path::new("source"));
        assert_eq!(sources.end(), OUTDATED);
    }

    #[test]
    fn a_save_that_is_reported_again_during_its_build_is_built_once() {
        let mut sources = Sources::default();
        assert_eq!(sources.end(), CURRENT);
        sources.write("source", "1");
        assert_eq!(sources.report("source"), OUTDATED);
        sources.writes.note(Path::new("source"));
        assert_eq!(sources.end(), CURRENT);
    }

    /// Two commands that write into the same folder would otherwise build in turns, for ever.
    #[test]
    fn what_another_command_writes_again_is_no_save() {
        let mut sources = Sources::default();
        assert_eq!(sources.end(), CURRENT);
        sources.write("made", "1");
        assert_eq!(sources.report_during_another("made"), OUTDATED);
        assert_eq!(sources.end(), CURRENT);
        sources.write("made", "1");
        assert_eq!(sources.report_during_another("made"), CURRENT);
        // This one is reported when the other build is over.
        sources.write("made", "1");
        sources.ended = Some(sources.tick());
        assert_eq!(sources.report("made"), CURRENT);
        // What differs has to be built, however often.
        for text in ["2", "3", "4", "5"] {
            sources.write("made", text);
            assert_eq!(sources.report_during_another("made"), OUTDATED);
            assert_eq!(sources.end(), CURRENT);
        }
    }

    #[test]
    fn without_a_time_the_content_decides() {
        let mut sources = Sources::default();
        for (text, expected) in [("1", OUTDATED), ("1", CURRENT), ("2", OUTDATED), ("2", CURRENT)] {
            assert_eq!(sources.end(), CURRENT);
            sources.files.insert("source".into(), Found { kind: content(text), changed: None });
            assert_eq!(sources.report("source"), expected, "{text}");
        }
    }

    #[test]
    fn a_look_tells_files_folders_and_nothing_apart() -> std::io::Result<()> {
        let home = tempfile::tempdir()?;
        let file = home.path().join("file");
        assert!(Found::of(&file) == Found { kind: Kind::Missing, changed: None });
        fs::write(&file, "1")?;
        let found = Found::of(&file);
        assert!(found.kind == content("1") && found.changed.is_some());
        assert!(found.is_untouched(Found::of(&file)));
        assert!(Found::of(home.path()).kind == Kind::Directory);
        assert!(Found::of(Path::new("/dev/null")).kind == Kind::Other);
        Ok(())
    }
}
