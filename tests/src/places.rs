//! The paths of the binary under test, of the plugins, and of files that are kept between runs.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

/// The root directory of the repository.
///
/// # Errors
/// If this crate isn't in a workspace.
pub fn workspace() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("this crate isn't in a workspace")
}

/// Cargo's target directory.
///
/// # Errors
/// See [`workspace`].
pub fn target() -> Result<PathBuf> {
    let folder = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    Ok(workspace()?.join(folder))
}

/// The binary `bennu`. It is the one that `BENNU_BIN` names. Without this variable, it is built once.
///
/// # Errors
/// If `BENNU_BIN` names no file, or the binary can't be built.
pub fn binary() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| find_or_build().map_err(|error| format!("{error:#}")));
    built.clone().map_err(anyhow::Error::msg)
}

fn find_or_build() -> Result<PathBuf> {
    if let Some(named) = env::var_os("BENNU_BIN") {
        let named = PathBuf::from(named);
        return match named.is_file() {
            true => Ok(named),
            false => {
                bail!("BENNU_BIN names {}, which isn't a file; build it with `cargo build -p bennu`", named.display())
            }
        };
    }
    // Cargo doesn't build this binary for tests of another crate, and tests of an outdated binary would mislead.
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--package", "bennu", "--bin", "bennu"]).current_dir(workspace()?);
    let built = build.status().context("starting cargo to build the binary `bennu`")?;
    if !built.success() {
        bail!("the binary `bennu` can't be built; cargo's output is above");
    }
    Ok(target()?.join("debug").join("bennu"))
}

/// The built plugin `name`, such as `echo` or `variants/echo-v2`.
///
/// # Errors
/// If the plugin hasn't been built.
pub fn guest(name: &str) -> Result<Vec<u8>> {
    let path = guest_file(name)?;
    fs::read(&path).with_context(|| {
        let command = if name.starts_with("variants/") { "cargo xtask test host" } else { "cargo xtask guests" };
        format!("the plugin {} can't be read; build it with `{command}`", path.display())
    })
}

/// The file of the built plugin `name`.
///
/// # Errors
/// See [`workspace`].
pub fn guest_file(name: &str) -> Result<PathBuf> {
    let guests = match env::var_os("BENNU_GUESTS") {
        Some(named) => PathBuf::from(named),
        None => target()?.join("guests"),
    };
    Ok(guests.join(name).with_extension("wasm"))
}

/// The cache of compiled plugins, so that each plugin is compiled only once for all tests.
///
/// # Errors
/// See [`workspace`].
pub fn compiled() -> Result<PathBuf> {
    Ok(target()?.join("tests").join("compiled"))
}
