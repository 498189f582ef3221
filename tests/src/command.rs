//! The command line, run to its end.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::places;

/// How a command ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub output: String,
    /// What it wrote to standard error.
    pub errors: String,
}

/// Runs `bennu` with these arguments in `directory` until it ends.
///
/// # Errors
/// Where it can't be started.
pub fn bennu(directory: &Path, arguments: &[&str]) -> Result<Ended> {
    bennu_with(directory, arguments, &[])
}

/// The same, with environment variables.
///
/// # Errors
/// Where it can't be started.
pub fn bennu_with(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Ended> {
    let mut command = Command::new(places::binary()?);
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    for name in ["BENNU_LOG", "BENNU_SECRET_KEY_BASE", "BENNU_HOST", "BENNU_DATA", "BENNU_API_KEY"] {
        command.env_remove(name);
    }
    // Not the user's own cache.
    command.env("XDG_CACHE_HOME", directory).envs(variables.iter().copied());
    let ended = command.output().with_context(|| format!("running bennu {arguments:?}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ended { code: ended.status.code(), output: text(&ended.stdout), errors: text(&ended.stderr) })
}
