//! Builds and tests a project while its host runs: one build at a time, and the last save wins.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{env, fs, io};

use anyhow::Result;
use bennu::project::{CONFIG, Invocation, Project};
use bennu::server::Overview;
use tokio::time::sleep;

use super::super::building::{self, BuildError, Built, Checker, Ran, Seconds, Size, within};
use super::board::{Board, ProblemKind};
use super::console::Paint;
use super::watch::Watch;
use super::writes::{Found, RebuildDecision, Writes};

/// How often the reason of a refusal is asked for again, while one is shown. A file that is what it was before makes no event.
const REFRESH: Duration = Duration::from_millis(500);

type Running<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

/// A project that is developed.
pub(super) struct Developer {
    project: Arc<Project>,
    checker: Arc<Checker>,
    board: Arc<Board>,
    paint: Paint,
    watch: Watch,
    /// The host, once it runs.
    overview: Option<Overview>,
    /// The targets that have to be built.
    pending: BTreeSet<usize>,
    /// The target that is built now.
    building: Option<usize>,
    build: Running<Result<Built, BuildError>>,
    /// For each target, what a build of it may have written among its sources.
    writes: Vec<Writes>,
    /// The end of the last build that may have written among the sources of any target.
    ended: SystemTime,
    /// The targets that were built before. Their compilers are quiet.
    known: BTreeSet<usize>,
    /// Whether tests run on each save.
    tests: bool,
    wants_tests: bool,
    test: Running<io::Result<Ran>>,
    /// The content of the configuration, to notice its change.
    config: Option<String>,
}

impl Developer {
    pub(super) fn new(project: &Arc<Project>, board: &Arc<Board>, paint: Paint, tests: bool) -> Result<Self> {
        let (noticed, sources) = (Arc::clone(board), Arc::clone(project));
        let watch = Watch::new(project, move |file| {
            sources.plain_plugin(file).into_iter().for_each(|plugin| noticed.note_saved(plugin));
            let affected = sources.affected(file);
            affected.iter().for_each(|at| noticed.note_saved(&sources.targets[*at].name));
        })?;
        Ok(Self {
            checker: Arc::new(Checker::new(&project.config)?),
            board: Arc::clone(board),
            paint,
            watch,
            overview: None,
            pending: (0..project.targets.len()).collect(),
            building: None,
            build: None,
            writes: project.targets.iter().map(|_| Writes::default()).collect(),
            ended: SystemTime::UNIX_EPOCH,
            known: BTreeSet::new(),
            tests,
            wants_tests: tests,
            test: None,
            config: read_config(project),
            project: Arc::clone(project),
        })
    }

    /// Builds all targets once, before the host starts.
    pub(super) async fn build_all(&mut self) {
        self.begin_build();
        while let Some(build) = &mut self.build {
            let built = build.await;
            self.conclude_build(built);
            self.begin_build();
        }
    }

    /// The host runs from now on.
    pub(super) fn follow_host(&mut self, overview: Overview) {
        self.overview = Some(overview);
    }

    /// Follows the saves. Never ends.
    pub(super) async fn follow(&mut self) -> Infallible {
        loop {
            self.begin_build();
            self.begin_tests();
            let is_refused = !self.board.with_problem(ProblemKind::Refused).is_empty();
            let Self { watch, build, test, .. } = self;
            tokio::select! {
                saved = watch.saved() => self.take_saved(&saved),
                built = running(build) => self.conclude_build(built),
                ran = running(test) => self.conclude_tests(ran),
                () = sleep(REFRESH), if is_refused => self.forget_refusals(),
            }
        }
    }

    /// Decides what a save means.
    fn take_saved(&mut self, saved: &BTreeSet<PathBuf>) {
        for file in saved {
            if self.project.is_config(file) {
                self.note_config();
                continue;
            }
            let affected = self.project.affected(file);
            let mut has_save = false;
            for at in affected.iter().copied() {
                let is_building = self.building == Some(at);
                let is_save = if self.project.targets[at].language.leaves_sources_alone() {
                    if is_building {
                        // The compiler is killed, and begins again with what was saved last.
                        (self.building, self.build) = (None, None);
                    }
                    true
                } else if is_building {
                    // The command may have written it: that is decided at its end.
                    self.writes[at].note(file);
                    false
                } else {
                    let idle_since = self.idle_since();
                    let RebuildDecision { is_outdated, given } =
                        self.writes[at].decide(file, Found::of(file), idle_since);
                    self.name_given(at, &given);
                    is_outdated
                };
                if is_save {
                    self.pending.insert(at);
                }
                has_save |= is_save;
            }
            if self.project.is_page(file) {
                self.board.reload_pages();
            } else if affected.is_empty() || has_save {
                self.test = None;
                self.wants_tests = self.tests;
            }
        }
    }

    /// The end of the last build that may have written among sources. Nothing, if one runs.
    fn idle_since(&self) -> Option<SystemTime> {
        let is_writing = self.building.is_some_and(|at| !self.project.targets[at].language.leaves_sources_alone());
        (!is_writing).then_some(self.ended)
    }

    fn note_config(&mut self) {
        let now = read_config(&self.project);
        if now != self.config {
            self.config = now;
            error_line!("{CONFIG} has changed: start `bennu dev` again to use it");
        }
    }

    fn begin_build(&mut self) {
        if self.build.is_some() {
            return;
        }
        let Some(at) = self.pending.pop_first() else { return };
        let (project, checker, is_quiet) =
            (Arc::clone(&self.project), Arc::clone(&self.checker), self.known.contains(&at));
        let name = &self.project.targets[at].name;
        self.board.note_saved(name);
        self.board.begin_build(name);
        self.building = Some(at);
        self.build =
            Some(Box::pin(async move { building::build(&project, &project.targets[at], &checker, is_quiet).await }));
    }

    fn conclude_build(&mut self, built: Result<Built, BuildError>) {
        self.build = None;
        let Some(at) = self.building else { return };
        let RebuildDecision { is_outdated, given } = self.concluded(at);
        if is_outdated {
            self.pending.insert(at);
            // It may be a save.
            self.wants_tests = self.tests;
        }
        self.building = None;
        self.name_given(at, &given);
        let name = &self.project.targets[at].name;
        match built {
            Ok(built) => {
                self.known.insert(at);
                self.board.mend(name, ProblemKind::Build);
                // A new file makes a generation, which has a line of its own.
                if self.overview.is_none() || !built.is_new {
                    let (file, size, took) =
                        (within(&self.project, &built.file), Size(built.bytes), Seconds(built.took));
                    let news = if built.is_new { "" } else { "; nothing has changed" };
                    error_line!("{}", self.paint.good(name, &format!("built {file}, {size}, in {took}{news}")));
                }
                if self.overview.is_some() && !built.is_new {
                    self.board.take_saved(name);
                }
            }
            Err(BuildError { output, reason }) => {
                self.wants_tests &= is_outdated;
                self.board.fail(name, ProblemKind::Build, &format!("{output}{reason}"));
                error_line!("{}", self.paint.bad(name, &reason));
            }
        }
    }

    /// What the build of a target that has just ended says of the files that have changed meanwhile.
    fn concluded(&mut self, at: usize) -> RebuildDecision {
        if self.project.targets[at].language.leaves_sources_alone() {
            return RebuildDecision::default();
        }
        // Before the reports are taken: what changes after that, and is reported later, is a save.
        self.ended = SystemTime::now();
        // What the command has written last isn't reported yet.
        let reported = self.watch.reported();
        self.take_saved(&reported);
        self.writes[at].conclude(self.ended, Found::of)
    }

    /// Tells the developer which files count as the command's from now on.
    fn name_given(&self, at: usize, given: &[PathBuf]) {
        for file in given {
            let file = within(&self.project, file);
            let text = format!(
                "{file} changes in each build, so its changes count as the command's; give `watch`, or change it again"
            );
            error_line!("{}", self.paint.bad(&self.project.targets[at].name, &text));
        }
    }

    /// Begins the tests, if nothing has to be built before.
    fn begin_tests(&mut self) {
        if self.wants_tests && self.build.is_none() && self.pending.is_empty() {
            self.wants_tests = false;
            match tests(&self.project) {
                Ok(tests) => self.test = Some(Box::pin(async move { building::run(&tests).await })),
                Err(error) => error_line!("the tests can't be started: {error}"),
            }
        }
    }

    fn conclude_tests(&mut self, ran: io::Result<Ran>) {
        self.test = None;
        match ran {
            Ok(ran) => self.board.set_tests((!ran.status.success()).then_some(&*ran.shown)),
            Err(error) => error_line!("the tests can't be started: {error}"),
        }
    }

    /// Takes back refusals that are over.
    fn forget_refusals(&self) {
        let Some(overview) = &self.overview else { return };
        for plugin in self.board.with_problem(ProblemKind::Refused) {
            if overview.plugin(&plugin).is_none_or(|status| status.last_error.is_none()) {
                self.board.mend(&plugin, ProblemKind::Refused);
            }
        }
    }
}

/// Waits for a future, if there is one. It stays, so that it can be continued after this one is dropped.
async fn running<T>(future: &mut Running<T>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// The program that tests the project. It is another process, because a test stops its clock.
fn tests(project: &Project) -> io::Result<Invocation> {
    let mut arguments = vec!["test".into(), "--no-build".into()];
    if project.has_config {
        arguments.extend(["--config".into(), project.file.clone().into_os_string()]);
    }
    Ok(Invocation {
        program: env::current_exe()?.into_os_string(),
        arguments,
        directory: project.root.clone(),
        variables: Vec::new(),
        is_output_for_people: true,
    })
}

fn read_config(project: &Project) -> Option<String> {
    fs::read_to_string(&project.file).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A project with tests, whose plugin is made by a command that may write among its sources.
    fn developer(folder: &std::path::Path) -> Result<Developer> {
        let command = "[build.echo]\nsource = \"src\"\ncommand = \"false\"\noutput = \"out/echo.wasm\"\n";
        fs::create_dir(folder.join("src"))?;
        fs::write(folder.join(CONFIG), format!("load = [\"build\"]\ncache = \"cache\"\n{command}"))?;
        let project = Arc::new(Project::read(folder, None)?);
        Developer::new(&project, &Arc::new(Board::new()), Paint::none(), true)
    }

    /// The build of the command fails, after it has written a file.
    fn fail(developer: &mut Developer, made: &BTreeSet<PathBuf>) {
        developer.pending.clear();
        developer.building = Some(0);
        developer.take_saved(made);
        let (output, reason) = (String::new(), "the build failed".to_owned());
        developer.conclude_build(Err(BuildError { output, reason }));
    }

    #[tokio::test]
    async fn what_a_failed_build_has_written_starts_no_tests_and_a_save_does() -> Result<()> {
        let home = tempfile::tempdir()?;
        let mut developer = developer(home.path())?;
        let made = BTreeSet::from([home.path().join("src/made")]);
        fs::write(home.path().join("src/made"), "1")?;
        fail(&mut developer, &made);
        assert!(developer.wants_tests && !developer.pending.is_empty(), "it may be a save");
        fail(&mut developer, &made);
        assert!(!developer.wants_tests && developer.pending.is_empty());
        // A change of the command is reported late.
        developer.take_saved(&made);
        assert!(!developer.wants_tests && developer.pending.is_empty());
        fs::write(home.path().join("src/made"), "2")?;
        developer.take_saved(&made);
        assert!(developer.wants_tests && !developer.pending.is_empty());
        // Something that no build reads, such as a test.
        developer.wants_tests = false;
        developer.take_saved(&BTreeSet::from([home.path().join("tests/echo.script")]));
        assert!(developer.wants_tests);
        Ok(())
    }
}
