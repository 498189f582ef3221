//! `bennu build`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use bennu::project::{Project, Target};
use bennu::server::{start_logging, write_error_line};
use bennu::terminal::shown;
use clap::Args;

use super::building::{self, Checker, Seconds, Size, serves, until_interrupted, within};

/// Build the plugins of the project in this folder, and check that a host would serve them.
#[derive(Args)]
pub(super) struct Build {
    /// The plugins to build [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// The project's configuration file [default: bennu.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Build {
    pub(super) async fn run(self) -> Result<()> {
        let project = Project::read(Path::new("."), self.config.as_deref())?;
        start_logging("warn", project.config.log_format)?;
        let failed = until_interrupted(build_all(&project, &self.names)).await?;
        ensure!(failed == 0, "{failed} {} can't be served", if failed == 1 { "plugin" } else { "plugins" });
        Ok(())
    }
}

/// Builds and checks the plugins with these names, or all. Prints a line for each, and returns the number of failures.
pub(super) async fn build_all(project: &Project, names: &[String]) -> Result<usize> {
    let plain = project.plain_plugins()?;
    let known = || project.targets.iter().map(|target| &target.name).chain(plain.iter().map(|(name, _)| name));
    if let Some(unknown) = names.iter().find(|name| !known().any(|known| known == *name)) {
        let known: Vec<&str> = known().map(String::as_str).collect();
        bail!("there is no plugin `{unknown}` in this project; its plugins are {}", known.join(", "));
    }
    ensure!(
        known().next().is_some(),
        "there is no plugin in this project: `load` has none, and no table `[build.NAME]` makes one"
    );
    let is_named = |name: &String| names.is_empty() || names.contains(name);
    let (checker, mut failed) = (Checker::new(&project.config)?, 0);
    for target in project.targets.iter().filter(|target| is_named(&target.name)) {
        failed += usize::from(!report(project, target, &checker).await);
    }
    for (_, file) in plain.iter().filter(|(name, _)| is_named(name)) {
        match building::check_plain(&checker, file).await {
            Ok((bytes, loaded)) => {
                out_line!("{}  {}  {}  checked", within(project, file), Size(bytes), serves(&loaded));
            }
            Err(error) => {
                failed += 1;
                write_error_line(&shown::lines(&format!("{error:#}")));
            }
        }
    }
    Ok(failed)
}

/// Builds a plugin, and prints the result. Returns whether it can be served.
async fn report(project: &Project, target: &Target, checker: &Checker) -> bool {
    match building::build(project, target, checker, false).await {
        Ok(built) => {
            let (file, bytes, topics) = (within(project, &built.file), Size(built.bytes), serves(&built.loaded));
            out_line!("{file}  {bytes}  {topics}  in {}", Seconds(built.took));
            true
        }
        Err(error) => {
            write_error_line(&shown::lines(&format!("{}: {}", target.name, error.reason)));
            false
        }
    }
}
