//! The package for PyPI: a wheel with the executable.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{VERSION, check_version, copy_files, empty};
use crate::{places, process, python};

/// Makes the wheel in `folder`, and returns its path.
pub(super) fn pack(executable: &Path, folder: &Path) -> Result<PathBuf> {
    let sources = places::root().join("packages").join("python");
    check_version(&sources.join("pyproject.toml"), &format!("version = \"{VERSION}\""))?;
    let project = folder.join("python");
    empty(&project)?;
    copy_files(&sources, &project)?;
    fs::copy(places::root().join("LICENSE"), project.join("LICENSE"))?;
    fs::copy(executable, project.join(executable.file_name().context("the executable has no name")?))?;
    let environment = places::target().join("packages-python");
    let mut pip = python::pip(&environment)?;
    pip.args(["wheel", "--quiet", "--no-deps", "--wheel-dir"]).arg(folder).arg(&project);
    process::run_quietly("building the wheel", &mut pip)?;
    let mut entries = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let wheel = entries.find(|path| path.extension().is_some_and(|extension| extension == "whl"));
    wheel.context("pip has made no wheel")
}
