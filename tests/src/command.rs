//! Runs the command line.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::places;

/// The result of a command.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The exit code; `None` if a signal ended the command.
    pub code: Option<i32>,
    /// The text on standard output.
    pub output: String,
    /// The text on standard error.
    pub errors: String,
}

/// Runs `bennu` with these arguments in `directory`, and waits until it ends.
///
/// # Errors
/// If the binary can't be started.
pub fn bennu(directory: &Path, arguments: &[&str]) -> Result<Ended> {
    bennu_with(directory, arguments, &[])
}

/// Runs `bennu` as [`bennu()`] does, with environment variables.
///
/// # Errors
/// If the binary can't be started.
pub fn bennu_with(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Ended> {
    let mut command = Command::new(places::binary()?);
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    for name in ["BENNU_LOG", "BENNU_SECRET_KEY_BASE", "BENNU_HOST", "BENNU_DATA", "BENNU_API_KEY"] {
        command.env_remove(name);
    }
    command.env("XDG_CACHE_HOME", places::cache_home()?).envs(variables.iter().copied());
    let ended = command.output().with_context(|| format!("running bennu {arguments:?}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ended { code: ended.status.code(), output: text(&ended.stdout), errors: text(&ended.stderr) })
}
