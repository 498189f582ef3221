//! Makes the packages with which people get the executable `bennu` without Rust, for npm and for PyPI, those of the SDKs in TypeScript and
//! Python, and that of the client for browsers.
//!
//! `cargo install` needs no package of its own. It builds the executable from the sources.

mod contract;
pub(crate) mod crates;
mod npm;
mod python;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::process::{self, cargo};
use crate::step::{note, step};
use crate::{node, places};

/// The options of `cargo xtask package`.
#[derive(Args)]
pub(crate) struct Options {
    /// Pack an executable that is already built, instead of building one in release
    #[arg(long, value_name = "FILE")]
    executable: Option<PathBuf>,
}

/// Builds the executable, and makes its packages.
pub(crate) fn run(options: &Options) -> Result<()> {
    match &options.executable {
        Some(executable) => pack(executable),
        None => pack(&step("the host in release", build)?),
    }
}

/// Makes the packages of an executable, and prints where they are.
pub(crate) fn pack(executable: &Path) -> Result<()> {
    node::find()?;
    step("the version of the contract", contract::check)?;
    let folder = places::packages();
    empty(&folder)?;
    let stripped = folder.join("bennu").with_extension(std::env::consts::EXE_EXTENSION);
    step("stripping the executable", || strip(executable, &stripped))?;
    let mut made = step("packages for npm", || npm::pack(&stripped, &folder))?;
    made.extend(step("the SDK and the client for npm", || npm::pack_libraries(&folder))?);
    made.push(step("a package for PyPI", || python::pack(&stripped, &folder))?);
    made.push(step("the SDK for PyPI", || python::pack_sdk(&folder))?);
    for package in made {
        let size = fs::metadata(&package)?.len();
        note(&format!("{} ({} MB)", package.display(), size.div_ceil(1_000_000)));
    }
    Ok(())
}

/// Builds the host in release.
pub(crate) fn build() -> Result<PathBuf> {
    process::run(cargo(places::root()).args(["build", "--release", "--package", "bennu"]))?;
    Ok(places::target().join("release").join("bennu").with_extension(std::env::consts::EXE_EXTENSION))
}

/// Copies an executable without its debug information, which is four fifths of it.
pub(crate) fn strip(executable: &Path, to: &Path) -> Result<()> {
    fs::copy(executable, to).with_context(|| format!("cannot copy {}", executable.display()))?;
    if cfg!(windows) {
        // There the debug information is in a file of its own.
        return Ok(());
    }
    process::run(Command::new("strip").arg(to)).context("`strip` is a part of binutils")
}

/// Makes an empty directory, in place of what was there.
pub(crate) fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

/// Copies the files of a directory, but no directories in it.
pub(crate) fn copy_files(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// The version of the packages: the workspace's, which carries the contract's (`contract.rs`).
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Checks that a file of a package names the workspace's version.
fn check_version(file: &Path, line: &str) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    ensure!(text.contains(line), "{} doesn't have the workspace's version: {line}", file.display());
    Ok(())
}
