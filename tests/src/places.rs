//! Where things stand: the binary under test, the plugins, and what is kept from one run to the next.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

/// The top of the repository.
///
/// # Errors
/// Where this crate doesn't stand in one.
pub fn workspace() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("this crate stands in a workspace")
}

/// Where cargo builds.
///
/// # Errors
/// See [`workspace`].
pub fn target() -> Result<PathBuf> {
    let folder = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    Ok(workspace()?.join(folder))
}

/// The binary `bennu`: the one that `BENNU_BIN` names, or else one that is built here, once.
///
/// # Errors
/// Where the one that is named isn't there, or it can't be built.
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
                bail!("BENNU_BIN names {}, which is no file; build it with `cargo build -p bennu`", named.display())
            }
        };
    }
    // Tests of another crate don't make cargo build this one's binary, and an old one would be worse than none.
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--package", "bennu", "--bin", "bennu"]).current_dir(workspace()?);
    let built = build.status().context("starting cargo to build the binary `bennu`")?;
    if !built.success() {
        bail!("the binary `bennu` can't be built: see what cargo says above");
    }
    Ok(target()?.join("debug").join("bennu"))
}

/// The built plugin `name`, such as `echo` or `variants/echo-v2`.
///
/// # Errors
/// Where it hasn't been built.
pub fn guest(name: &str) -> Result<Vec<u8>> {
    let path = guest_file(name)?;
    fs::read(&path).with_context(|| {
        let command = if name.starts_with("variants/") { "cargo xtask test host" } else { "cargo xtask guests" };
        format!("the plugin {} can't be read; build it with `{command}`", path.display())
    })
}

/// Where the built plugin `name` stands.
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

/// Where compiled plugins are kept, so that each is compiled once and not for every test.
///
/// # Errors
/// See [`workspace`].
pub fn compiled() -> Result<PathBuf> {
    Ok(target()?.join("tests").join("compiled"))
}
