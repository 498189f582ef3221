//! `bennu test`: starts the executable of the test kit.
//!
//! The kit controls time, and for that its `tokio` has the feature `test-util`. The host must not have it, so the kit is an
//! executable of its own.

use std::env::{self, consts::EXE_SUFFIX};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;

/// Play scripts against a plugin, in process
#[derive(Args)]
#[command(disable_help_flag = true, disable_version_flag = true, after_help = AFTER_HELP)]
pub(super) struct Test {
    /// The arguments of `bennu-kit`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    arguments: Vec<OsString>,
}

const AFTER_HELP: &str = "`bennu test --help` describes the arguments and the language of scripts.";

/// The file name of the kit's executable.
const KIT: &str = "bennu-kit";

impl Test {
    pub(super) fn run(self) -> Result<()> {
        let own = env::current_exe().context("finding the executable of `bennu`")?;
        let kit = beside(&own)?;
        let failure = become_kit(&kit, self.arguments);
        Err(anyhow!(failure).context(format!("starting {}", kit.display())))
    }
}

/// The kit's executable, in the directory of `own`.
fn beside(own: &Path) -> Result<PathBuf> {
    let kit = own.with_file_name(format!("{KIT}{EXE_SUFFIX}"));
    if !kit.is_file() {
        bail!(
            "`bennu test` needs the executable `{KIT}` in the directory of `bennu`, and {} doesn't exist. Build it with \
             `cargo build -p {KIT}`, and with `--release` if `bennu` was built so",
            kit.display()
        );
    }
    Ok(kit)
}

/// Replaces this process by the kit, so that standard streams, signals and the exit status are the kit's. Returns only if
/// that fails.
#[cfg(unix)]
fn become_kit(kit: &Path, arguments: Vec<OsString>) -> io::Error {
    use std::os::unix::process::CommandExt as _;
    Command::new(kit).args(arguments).exec()
}

/// Runs the kit with this process's standard streams, and ends with the kit's exit status. Returns only if the kit can't be
/// started.
#[cfg(not(unix))]
fn become_kit(kit: &Path, arguments: Vec<OsString>) -> io::Error {
    match Command::new(kit).args(arguments).status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(failure) => failure,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_error_about_a_missing_kit_has_its_path() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let (own, kit) = (folder.path().join("bennu"), folder.path().join(format!("{KIT}{EXE_SUFFIX}")));
        let missing = beside(&own).expect_err("the directory is empty").to_string();
        assert!(missing.contains(&kit.display().to_string()) && missing.contains("cargo build -p"), "{missing}");
        fs::write(&kit, "")?;
        assert_eq!(beside(&own)?, kit);
        Ok(())
    }

    #[test]
    #[cfg(unix)]
    fn a_kit_that_cannot_be_started_is_an_error() -> Result<()> {
        let folder = tempfile::tempdir()?;
        // The file isn't executable.
        fs::write(folder.path().join(KIT), "")?;
        assert_eq!(become_kit(&folder.path().join(KIT), Vec::new()).kind(), io::ErrorKind::PermissionDenied);
        Ok(())
    }
}
