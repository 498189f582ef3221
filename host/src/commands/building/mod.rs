//! Builds plugins: runs the compiler, checks what it has made, and puts that into the folder that a host watches.

mod checker;
mod runner;

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bennu::plugin::Loaded;
use bennu::project::{Failure, Invocation, Project, Target};
use bennu::server::write_error_line;
use bennu::terminal::shown;

use super::signals::Signals;

pub(super) use checker::Checker;
pub(super) use runner::{Ran, run};

/// The folder for intermediate results, in that of built plugins. Its name begins with a dot, so a host ignores it.
const SCRATCH: &str = ".scratch";

/// A build that has failed, or whose result a host would refuse.
#[derive(Debug)]
pub(super) struct BuildError {
    /// What the compiler has printed. It was shown already.
    pub(super) output: String,
    /// The reason, and what to do.
    pub(super) reason: String,
}

/// A plugin that was built.
pub(super) struct Built {
    pub(super) file: PathBuf,
    pub(super) bytes: usize,
    pub(super) loaded: Loaded,
    pub(super) took: Duration,
    /// Whether the file is another one than before.
    pub(super) is_new: bool,
}

impl From<anyhow::Error> for BuildError {
    fn from(error: anyhow::Error) -> Self {
        Self { output: String::new(), reason: format!("{error:#}") }
    }
}

/// Builds a plugin. The file of the last build stays until the new one is complete and checked. With `is_quiet`, the compiler
/// prints only warnings and errors.
pub(super) async fn build(
    project: &Project,
    target: &Target,
    checker: &Checker,
    is_quiet: bool,
) -> Result<Built, BuildError> {
    let began = Instant::now();
    let (folder, language) = (project.output(), &target.language);
    let scratch = folder.join(SCRATCH).join(&target.name);
    fs::create_dir_all(&scratch).with_context(|| format!("creating {}", scratch.display()))?;
    let output = compile(target, &language.build(&scratch, is_quiet)?).await?;
    let product = language.product(&scratch, &output)?;
    let made = fs::read(&product).with_context(|| format!("reading {}", product.display()))?;
    let file = folder.join(target.file_name());
    let content = checker::wrapped(&file, made).await?;
    let bytes = content.len();
    let loaded = checker.load(&file, content.clone()).await?;
    let is_new = put(&file, &scratch, &content)?;
    Ok(Built { file, bytes, loaded, took: began.elapsed(), is_new })
}

/// Runs a compiler. If the language knows a remedy for its failure, runs that, and the compiler once more.
async fn compile(target: &Target, invocation: &Invocation) -> Result<Vec<u8>, BuildError> {
    let mut has_remedy = true;
    loop {
        let (is_absent, output) = match run(invocation).await {
            Ok(ran) if ran.status.success() => return Ok(ran.output),
            Ok(ran) => (false, ran.shown),
            Err(error) if error.kind() == ErrorKind::NotFound => (true, String::new()),
            Err(error) => {
                let program = invocation.program.display();
                return Err(BuildError { output: String::new(), reason: format!("starting {program}: {error}") });
            }
        };
        let advice = target.language.advice(&Failure { is_absent, errors: &output });
        if let Some(remedy) = advice.as_ref().and_then(|advice| advice.remedy.as_ref()).filter(|_| has_remedy) {
            has_remedy = false;
            write_error_line(&format!("{}: running `{remedy}`", target.name));
            if run(remedy).await.is_ok_and(|ran| ran.status.success()) {
                continue;
            }
        }
        let program = invocation.program.display();
        let usual = if is_absent { format!("there is no program `{program}`") } else { "the build failed".to_owned() };
        let reason = advice.map_or(usual, |advice| advice.text);
        return Err(BuildError { output, reason });
    }
}

/// Puts a file in its place by a rename, so that a running host never reads half of it. Returns false if it is the same one.
fn put(file: &Path, scratch: &Path, content: &[u8]) -> Result<bool> {
    if fs::read(file).is_ok_and(|old| old == content) {
        return Ok(false);
    }
    let part = scratch.join("complete");
    fs::write(&part, content).with_context(|| format!("writing {}", part.display()))?;
    fs::rename(&part, file).with_context(|| format!("writing {}", file.display()))?;
    Ok(true)
}

/// Checks a plugin that is served as it is. Returns the size of its file.
pub(super) async fn check_plain(checker: &Checker, file: &Path) -> Result<(usize, Loaded)> {
    let content = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    Ok((content.len(), checker.load(file, content).await?))
}

/// A path below the project's folder, without that folder.
pub(super) fn within<'a>(project: &Project, path: &'a Path) -> std::path::Display<'a> {
    path.strip_prefix(&project.root).unwrap_or(path).display()
}

/// The patterns of a plugin's topics, or its kind, if it has none.
pub(super) fn serves(loaded: &Loaded) -> String {
    match &loaded.routes[..] {
        [] => loaded.anatomy.kind.as_str().to_owned(),
        routes => {
            let patterns: Vec<String> = routes.iter().map(|route| shown::name(&route.pattern.to_string())).collect();
            patterns.join(" ")
        }
    }
}

/// A number of bytes, for people.
pub(super) struct Size(pub(super) usize);

impl fmt::Display for Size {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
        let bytes = self.0 as f64;
        match self.0 {
            0..1_000 => write!(text, "{} bytes", self.0),
            1_000..1_000_000 => write!(text, "{:.1} KB", bytes / 1e3),
            _ => write!(text, "{:.1} MB", bytes / 1e6),
        }
    }
}

/// A duration, for people.
pub(super) struct Seconds(pub(super) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            ms @ 0..100 => write!(text, "{ms} ms"),
            _ => write!(text, "{:.1} s", self.0.as_secs_f64()),
        }
    }
}

/// Runs a command that starts other programs. A signal ends it in order, so that none of those programs stays.
pub(super) async fn until_interrupted<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut signals = Signals::listen()?;
    tokio::select! {
        done = work => done,
        () = signals.stop(|| {}) => bail!("stopped by a signal"),
    }
}
