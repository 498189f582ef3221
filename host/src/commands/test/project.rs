//! Tests of a whole project: the languages' own tests, then scripts against the built plugins.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use bennu::project::{Advice, Failure, Invocation, Project, ScriptTest, node_advice, plugins_of};
use bennu::server::write_error_line;
use bennu::terminal::shown;
use tokio::task::spawn_blocking;

use super::super::building::{run, until_interrupted, within};
use super::super::{block_on, build};
use super::scripts;

/// How many tests have passed and failed. A language's own tests count as one.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
}

impl Tally {
    fn count(&mut self, has_passed: bool) {
        let count = if has_passed { &mut self.passed } else { &mut self.failed };
        *count += 1;
    }
}

/// Builds a project, and runs all of its tests.
///
/// # Errors
/// Returns an error if a plugin can't be served, or a test has failed.
pub(super) fn test(project: Project, builds: bool) -> Result<()> {
    let tally = block_on(until_interrupted(async move {
        if builds {
            let failed = build::build_all(&project, &[]).await?;
            ensure!(failed == 0, "{failed} of the plugins can't be served, so nothing was tested");
        }
        let native = native(&project).await;
        // The stage of a script has a runtime of its own, so it can't be in a task of another.
        let scripts = spawn_blocking(move || play(&project)).await.context("playing the scripts")??;
        Ok(Tally { passed: native.passed + scripts.passed, failed: native.failed + scripts.failed })
    }))?;
    match tally {
        Tally { passed: 0, failed: 0 } => {
            out_line!(
                "there are no tests; a script tests/NAME.script is the shortest: `bennu test --help` has its language"
            );
        }
        Tally { passed, failed: 0 } => out_line!("{passed} passed"),
        Tally { passed, failed } => bail!("{failed} of {} failed", passed + failed),
    }
    Ok(())
}

/// Runs the languages' own tests.
async fn native(project: &Project) -> Tally {
    let mut tally = Tally::default();
    let mut done: Vec<Invocation> = Vec::new();
    for target in &project.targets {
        // Two plugins may be of one crate.
        let Some(tests) = target.language.tests().filter(|tests| !done.contains(tests)) else { continue };
        let advice = |failure: &Failure<'_>| target.language.advice(failure);
        tally.count(report(&tests, &tests.to_string(), advice).await);
        done.push(tests);
    }
    if let Some((tests, title)) = project.node_tests() {
        tally.count(report(&tests, &title, |failure| failure.is_absent.then(node_advice)).await);
    }
    tally
}

/// Runs a program that tests, and prints the result with its title. Returns whether it has passed.
async fn report(tests: &Invocation, title: &str, advice: impl Fn(&Failure<'_>) -> Option<Advice>) -> bool {
    let (is_absent, errors) = match run(tests).await {
        Ok(ran) if ran.status.success() => {
            out_line!("ok      {title}");
            return true;
        }
        Ok(ran) => (false, ran.shown),
        Err(error) => (error.kind() == ErrorKind::NotFound, error.to_string()),
    };
    out_line!("FAILED  {title}");
    if let Some(advice) = advice(&Failure { is_absent, errors: &errors }) {
        write_error_line(&advice.text);
    }
    false
}

/// Plays the scripts.
fn play(project: &Project) -> Result<Tally> {
    let mut tally = Tally::default();
    let plugins = plugins_of(&project.sources()?);
    for script in project.scripts() {
        tally.count(match plugins_for(&script, &plugins) {
            Ok(test) => scripts::report(&project.config, &test.plugins, &within(project, &script), &script),
            Err(error) => {
                out_line!("FAILED  {}", within(project, &script));
                write_error_line(&format!("{}: {}", within(project, &script), shown::lines(&format!("{error:#}"))));
                false
            }
        });
    }
    Ok(tally)
}

fn plugins_for(script: &Path, plugins: &[(String, std::path::PathBuf)]) -> Result<ScriptTest> {
    ScriptTest::of(script, &scripts::read(script)?, plugins)
}
