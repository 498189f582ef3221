//! The paths of the binary under test, of the plugins, and of files that are kept between runs.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

use crate::compile_once;

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

/// The binary `bennu`: the file that `BENNU_BIN` names, or else one that is built here, once.
///
/// # Errors
/// If the named file doesn't exist, or the binaries can't be built.
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
                let build = "cargo build -p bennu";
                bail!("BENNU_BIN names {}, which is no file; build it with `{build}`", named.display())
            }
        };
    }
    // Cargo doesn't build the binaries of other packages for a test. An outdated binary would be worse than no binary.
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--package", "bennu", "--bins"]).current_dir(workspace()?);
    let built = build.status().context("starting cargo to build `bennu`")?;
    if !built.success() {
        bail!("`bennu` can't be built: see cargo's messages above");
    }
    Ok(target()?.join("debug").join("bennu"))
}

/// The built plugin `name`, such as `echo` or `variants/echo-v2`. Its compiled form is in the shared cache afterwards.
///
/// # Errors
/// If the plugin hasn't been built.
pub fn guest(name: &str) -> Result<Vec<u8>> {
    let path = guest_path(name)?;
    let bytes = fs::read(&path).with_context(|| {
        format!("the plugin {} can't be read; build it with `cargo xtask guests --quick`", path.display())
    })?;
    compile_once(&bytes)?;
    Ok(bytes)
}

/// The path of the built plugin `name`. The file may be missing.
///
/// # Errors
/// See [`workspace`] and [`compile_once`].
pub fn guest_file(name: &str) -> Result<PathBuf> {
    let path = guest_path(name)?;
    if let Ok(bytes) = fs::read(&path) {
        compile_once(&bytes)?;
    }
    Ok(path)
}

fn guest_path(name: &str) -> Result<PathBuf> {
    let guests = match env::var_os("BENNU_GUESTS") {
        Some(named) => PathBuf::from(named),
        None => target()?.join("guests").join("quick"),
    };
    Ok(guests.join(name).with_extension("wasm"))
}

/// The variables with which cargo compiles to WebAssembly, if its own compiler can't. `cargo xtask test` sets the variables that they
/// are taken from.
#[must_use]
pub fn wasm_compiler() -> Vec<(&'static str, String)> {
    const VARIABLES: [(&str, &str); 3] = [
        ("RUSTC", "BENNU_WASM_RUSTC"),
        ("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "BENNU_WASM_LINKER"),
        ("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", "BENNU_WASM_RUSTFLAGS"),
    ];
    VARIABLES.into_iter().filter_map(|(name, from)| Some((name, env::var(from).ok()?))).collect()
}

/// The user's cache directory of commands under test, for `XDG_CACHE_HOME`. All tests share it, so that each plugin is compiled
/// once and not for every test.
///
/// # Errors
/// See [`workspace`].
pub fn cache_home() -> Result<PathBuf> {
    Ok(target()?.join("tests").join("cache"))
}

/// The directory for compiled plugins in [`cache_home`].
///
/// # Errors
/// See [`workspace`].
pub fn compiled() -> Result<PathBuf> {
    Ok(cache_home()?.join("bennu").join("compiled"))
}
